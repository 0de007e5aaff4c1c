package holdfast

import (
	"context"
	"runtime"
	"time"
)

// Lease is one acquired hold. It lasts until it is released or lost: taken by
// nobody else before Done is closed, as long as Redis keeps its data and clocks
// run at about the same rate. Leases are made by the lock packages; the zero
// Lease is over. Safe for concurrent use.
//
// A Lease to which nothing refers any more, neither directly nor through a
// context of its Context method, is released and logged: its renewal would
// otherwise keep the lock for ever.
type Lease struct {
	h    *hold
	leak runtime.Cleanup
}

func newLease(h *hold) *Lease {
	h.mu.Lock()
	h.leased = true
	h.tellAcquired()
	if h.state == over { // it ended meanwhile
		h.tellEnd(h.err)
	}
	h.mu.Unlock()
	l := &Lease{h: h}
	l.leak = runtime.AddCleanup(l, (*hold).abandon, h)
	return l
}

// zero tells whether the lease was not made by a lock.
func (l *Lease) zero() bool { return l == nil || l.h == nil }

// Name is the name of the lock.
func (l *Lease) Name() string {
	if l.zero() {
		return ""
	}
	return l.h.core.name
}

// ID is unique to this acquisition: "<client's uuid>:<number>". It is in the
// value of the lock's key.
func (l *Lease) ID() string {
	if l.zero() {
		return ""
	}
	return l.h.id
}

// Token is the fencing token: it is greater than that of every earlier
// acquisition of the lock, also across expiry, a flush or a restart of Redis,
// unless the server's clock steps back by more than ten minutes. That of a redlock
// is 0, which is none: see there. A resource that keeps the highest token it has
// seen and refuses lower ones is safe from holders that do not know yet that they
// lost the lock: see package guard.
func (l *Lease) Token() int64 {
	if l.zero() {
		return 0
	}
	return l.h.token // set before the Lease was made, never after
}

// Done is closed once the lease is over, released or lost. After the process
// was paused it can lag behind the clock; Err does not.
func (l *Lease) Done() <-chan struct{} {
	if l.zero() {
		return closedChan
	}
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = make(chan struct{})
		if h.state == over {
			close(h.done)
		}
	}
	return h.done
}

// Err is nil while the lease is held; then [ErrReleased], or an error that Is
// [ErrLost] and says why. It compares the clock at the call, without I/O.
func (l *Lease) Err() error {
	if l.zero() {
		return invalid("a nil or zero Lease")
	}
	return l.h.check()
}

// Deadline is until when the lease is held even if Redis never answers again,
// by this process's monotonic clock. Renewal moves it on; of a redlock, a server
// that forgot the lock can move it back.
func (l *Lease) Deadline() time.Time {
	if l.zero() {
		return time.Time{}
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	return l.h.deadline
}

// Renew asks Redis now whether the lease is still held, and extends it to a
// full TTL if so. Needed for leases taken WithoutRenewal, allowed for all.
//
// It returns nil if the lease was extended; an error that Is [ErrLost] or
// [ErrReleased] if it is over; [ErrInvalid] if WithMaxHold is over. Any other
// error means that nobody knows: the lease lasts until its Deadline. It blocks
// for one round trip, at most until ctx ends as far as the go-redis client
// heeds it.
func (l *Lease) Renew(ctx context.Context) error {
	if l.zero() {
		return invalid("Renew of a nil or zero Lease")
	}
	if ctx == nil {
		return invalid("Renew of %q: the context is nil", l.Name())
	}
	err := l.h.renewNow(ctx)
	runtime.KeepAlive(l)
	return err
}

// Release gives the lock back and, in the same step at the server, to the next
// waiter. The lease is over when Release is called, before anything is sent: its
// Done is closed and its Err is [ErrReleased], whatever Release returns.
//
// ctx gives values only: Release works when ctx has ended, so that
// "defer lease.Release(ctx)" is right. It blocks for one round trip, 2 s at most
// as far as the go-redis client heeds deadlines.
//
// It returns nil once Redis confirmed it. ErrReleased means that the lease was
// released before; nothing was sent. An error that Is [ErrLost] means that the
// lease was over before. Any other error means that nobody knows; the client
// goes on trying in the background until the lock is free by itself.
func (l *Lease) Release(ctx context.Context) error {
	if l.zero() {
		return invalid("Release of a nil or zero Lease")
	}
	if ctx == nil {
		return invalid("Release of %q: the context is nil", l.Name())
	}
	l.leak.Stop()
	err := l.h.release(ctx)
	runtime.KeepAlive(l)
	return err
}

// closedChan is the Done of a lease that never was.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
