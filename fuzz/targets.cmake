# boxd_fuzz(<target> <libraries...>)
boxd_fuzz(json boxd_core)
