// Package reentrant is an exclusive lock on Redis that its owner may take again.
//
//	accounts := reentrant.New(client, "account:42")
//	err := accounts.Do(ctx, func(ctx context.Context) error {
//		return settle(ctx) // which may lock account:42 again
//	})
//
// # Owner
//
// Go has no thread id, so the owner travels in the context. A Lock on a fresh
// context makes a new owner; Lease.Context, and the context that Do hands to its
// function, carry it for as long as the lease is held; a Lock on such a context,
// of this or of any other reentrant lock, is the same owner's. So the owner is a
// call chain with all goroutines that it starts: they do not exclude each other.
// [WithOwner] names an owner, also one that another process uses.
//
// A context whose lease is over carries no owner, not even that of a lease or a
// WithOwner around it: a Lock on what was derived from it does not re-enter.
//
// # Counting
//
// Each Lock has a Lease of its own, to be released once; n locks need n
// releases, in any order. They share one fencing token. Each is renewed, ends
// and can be lost by itself, and the lock is free when the last of them is over:
// a re-entry never shortens the lease of what was held before, and a process
// that dies takes its own share with it at its TTL, although others of the same
// owner go on. The first step into the lock waits in line as a mutex does; a
// re-entry passes the line, since those in it wait for its owner. WithMinHold
// keeps other owners out, not the one that held the lock.
//
// # In Redis
//
// The lock is the hash {owner: count} with a TTL that Redisson's RLock keeps.
// With holdfast.WithPrefix("") and holdfast.WithRedisson it is the same lock as
// Redisson's getLock of that name, and each wakes the other's waiters.
package reentrant
