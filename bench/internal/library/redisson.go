package library

// SendsEach: after each release of a lock Redisson sends a DEL of the key that makes
// a repeated release harmless.
var (
	redisson = Library{
		Name: "redisson", Title: "Redisson RLock",
		How:       "defaults, but for the pool; the clients of one run share one JVM, its threads and its warm-up",
		SendsEach: 1,
	}
	redissonFair = Library{
		Name: "redisson-fair", Title: "Redisson fair lock",
		How:       "getFairLock, else as RLock",
		SendsEach: 1,
	}
	redissonSemaphore = Library{
		Name: "redisson-semaphore", Title: "Redisson RSemaphore",
		How: "permits without owner or TTL: those of a process that dies are gone",
	}
	redissonPermits = Library{
		Name: "redisson-permits", Title: "Redisson RPermitExpirableSemaphore",
		How: "permits with a lease of the same TTL; it does not renew",
	}
)

// Remote tells whether the library runs in a JVM.
func (l Library) Remote() bool { return l.Open == nil }
