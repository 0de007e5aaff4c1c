// Package mutex is an exclusive lock on Redis: one holder at a time, over all
// processes.
//
//	invoice := mutex.New(client, "invoice:42") // client: see holdfast.New
//	err := invoice.Do(ctx, func(ctx context.Context) error {
//		return settle(ctx) // ctx ends if the lock is lost
//	})
//
// or step by step:
//
//	lease, err := invoice.Lock(ctx)
//	if err != nil {
//		return err
//	}
//	defer lease.Release(ctx)
//
// # What is promised
//
// Two leases of one name are never both held, by what their Err says, as long as
// Redis keeps its data and clocks run at about the same rate. Waiters are served
// first come, first served, in the order in which they reach Redis, over all
// processes; TryLock overtakes nobody. The goroutines of one process that want the
// same name with the same options wait in the process, in their own order, behind
// one place in Redis, and pass the lock on among themselves without a round trip:
// for as long as nobody elsewhere waits, else for turns of 16 leases or 10 ms,
// counted from when the process has heard of it. A waiter elsewhere is passed by for
// two such turns at most, or three if the process was in the queue before it. A
// release makes the next waiter the holder in the same step and wakes it alone. A
// lease is renewed until it is released; one whose process died frees the lock at
// its TTL.
//
// # What is not
//
// A holder that is paused past its TTL and goes on without a look at its lease
// works beside the next one: package guard is for the resource that must be safe
// from that. A Redis that forgets can give the lock twice.
//
// A Mutex is not reentrant: a Lock with a context that carries a live lease of the
// same Mutex is refused rather than left to wait for itself. Package reentrant is
// for functions that lock and call each other.
//
// # In Redis
//
// The lock is one string key, set with NX and PX. With holdfast.WithPrefix("") its
// name is the lock's, and it excludes, and is excluded by, every library that uses
// "SET name value NX PX ttl" on that name. First come, first served then holds among
// Holdfast's clients only.
package mutex
