boxd_unit_test(loop boxd_loop)
boxd_unit_test(child boxd_loop)
boxd_unit_test(work boxd_loop)
boxd_unit_test(spawn boxd_os Threads::Threads)
boxd_unit_test(spawn_find boxd_os)
boxd_unit_test(spawn_slots boxd_os)
boxd_unit_test(users boxd_os)
boxd_unit_test(ptree boxd_os Threads::Threads)

