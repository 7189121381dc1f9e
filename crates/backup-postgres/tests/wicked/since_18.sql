CREATE TABLE nn (a int CONSTRAINT "its own name" NOT NULL, b int NOT NULL NO INHERIT, c int, v int GENERATED ALWAYS AS (a * 2) VIRTUAL);
INSERT INTO nn VALUES (1, 2, NULL), (3, 4, 5);
ALTER TABLE nn ADD CONSTRAINT c_later NOT NULL c NOT VALID;
CREATE TABLE nn_child (CONSTRAINT "mine too" NOT NULL a) INHERITS (nn);
CREATE TABLE period (id int4range, during daterange, PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE not_enforced (a int CHECK (a > 0) NOT ENFORCED);
INSERT INTO not_enforced VALUES (-1);
