//! Events that no server makes now, since they were over before they came to be what they are.

use super::comes_back_the_same;
use crate::on;
use crate::server::Server;

on! {
    events_that_were_over_when_they_were_made_come_back: mariadb mariadb11 mysql;
}

async fn events_that_were_over_when_they_were_made_come_back(server: Server) {
    let statements = [
        "SET time_zone = '+05:00'",
        "CREATE EVENT once ON SCHEDULE AT '2020-01-01' ON COMPLETION PRESERVE DO SELECT 1",
        "CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2019-01-01' ENDS '2020-01-01' ON COMPLETION PRESERVE DO SELECT 1",
        "CREATE EVENT early ON SCHEDULE AT '1970-01-01 06:00:00' ON COMPLETION PRESERVE DO SELECT 1",
        "ALTER EVENT once ON COMPLETION NOT PRESERVE",
        "ALTER EVENT daily ON COMPLETION NOT PRESERVE",
        "ALTER EVENT early ON COMPLETION NOT PRESERVE",
    ];
    comes_back_the_same(&server, &statements).await;
    // Where events do not begin to run.
    if server.is_mariadb() {
        let statements = [
            "CREATE EVENT waiting ON SCHEDULE AT '2020-01-01' ON COMPLETION PRESERVE DO SELECT 1",
            "ALTER EVENT waiting ENABLE",
        ];
        comes_back_the_same(&server, &statements).await;
    }
}
