// Package guard is what makes a fencing token useful: the check at the resource
// that a lock protects.
//
// A lock with a TTL can be lost while its holder is paused, and the holder can go
// on to write before it looks. Nothing on the holder's side helps, since the pause
// can come between the look and the write. What helps is a resource that keeps the
// highest token that it let pass, and refuses lower ones: tokens grow with every
// acquisition, see holdfast.Lease.Token.
//
// A resource in Redis is guarded by a [Fence], which checks and writes in one script:
//
//	invoices := guard.New(rdb, "fence:{invoice:42}")
//	_, err := invoices.Do(ctx, lease.Token(),
//		guard.Cmd{"HSET", guard.Key("{invoice:42}"), "state", "paid"})
//	if errors.Is(err, guard.ErrStale) {
//		return err // a later holder was here; nothing was written
//	}
//
// For scripts of one's own, [Lua] is the text of the check. A resource in SQL is
// guarded by a column that keeps the token, and a [Table] that knows it:
//
//	accounts := guard.Table{Dialect: guard.Postgres, Name: "accounts"}
//	err := accounts.Update(ctx, db, lease.Token(), 42, guard.Set{"balance": 90})
//
// # Mark before reading
//
// A guard refuses what comes after a higher token. It knows of that token from
// when its holder first comes by, not from when the lock was acquired. Who only
// writes is safe. Who reads first, and writes what follows from it, calls Check
// before it reads: else an older holder's write can fall between the two, be let
// pass, and be overwritten by what does not know of it.
//
//	if err := invoices.Check(ctx, token); err != nil { // from here older holders are refused
//		return err
//	}
//	balance, err := rdb.Get(ctx, "{invoice:42}:balance").Int64()
//	...
//	_, err = invoices.Do(ctx, token, guard.Cmd{"SET", guard.Key("{invoice:42}:balance"), balance + 10})
//
// # What passes
//
// The highest token so far passes, as often as it likes: a holder writes many
// times. A lower one is refused, with an error that Is [ErrStale]. Zero, negative
// and too large tokens are refused always, as holdfast.ErrInvalid: 0 means that
// there is none, as of a redlock lease. A token says in which order leases were
// given and no more: it passes also when its lease is over, as long as no higher
// one was here. All writers must go through the guard; it cannot see the others.
//
// The guard is as durable as what it is kept in. In one Redis key slot, or one SQL
// database, it is lost and restored together with what it guards. If the clock of
// the lock's server stepped back by more than ten minutes, new tokens can be below
// the one that is kept, and everything is refused until the clock has caught up, or
// somebody deletes the fence.
//
// # Locks with more than one holder
//
// Tokens order the holders of a lock that has one at a time: a mutex, a reentrant
// lock, a writer. Of readers, and of a semaphore with more than one permit, the
// last to come would shut out the others, who hold as rightfully.
package guard
