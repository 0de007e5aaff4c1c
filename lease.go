package holdfast

import (
	"context"
	"runtime"
	"strconv"
	"time"
)

// Lease is one acquired hold. It lasts until it is released or lost: taken by
// nobody else while Err is nil, as long as Redis keeps its data and clocks run at
// about the same rate. Leases are made by the lock packages; the zero Lease is over.
// Safe for concurrent use.
//
// A Lease to which nothing refers any more, neither directly nor through a
// context of its Context method, is released and logged: its renewal would
// otherwise keep the lock for ever.
type Lease struct {
	t    *tenure
	leak runtime.Cleanup
}

// tenure is the time for which one caller has a hold. It is what a Lease is about;
// a hold has several, one after the other, if it is passed on inside the process.
// With the hold's mu.
type tenure struct {
	hold     *hold
	turn     int64 // number within the hold, from 0
	inquiry  *inquiry
	acquired time.Time     // when this process knew
	handed   bool          // it waited, and whoever went before made it the holder
	leased   bool          // a Lease was returned for it
	told     bool          // to those who observe, and its end was not
	done     chan struct{} // made by the first Done
	attached map[*attachment]struct{}
	err      error     // why it is over; nil: it is not
	ended    time.Time // when
	verdict  error     // of Release, if it was that the lease had been lost
}

// end ends the tenure for its caller: from here on Err says so and Done is closed;
// contexts are cancelled by the returned function, to be called without the hold's
// mu; nil: there are none. Of a tenure that is over nothing changes.
func (t *tenure) end(err error) (cancel func()) {
	if t.err != nil {
		return nil
	}
	t.err, t.ended = err, time.Now()
	if t.done != nil {
		close(t.done)
	}
	attached := t.attached
	t.attached = nil
	if len(attached) == 0 {
		return nil
	}
	return func() {
		for a := range attached {
			a.stop()
			a.cancel(err)
		}
	}
}

// newLease makes the Lease of a tenure.
func newLease(t *tenure) *Lease {
	t.hold.mu.Lock()
	t.leased = true
	t.tellAcquired()
	if t.err != nil { // it ended meanwhile
		t.tellEnd(t.err)
	}
	t.hold.mu.Unlock()
	l := &Lease{t: t}
	l.leak = runtime.AddCleanup(l, (*tenure).abandon, t)
	return l
}

// zero tells whether the lease was not made by a lock.
func (l *Lease) zero() bool { return l == nil || l.t == nil }

// Name is the name of the lock.
func (l *Lease) Name() string {
	if l.zero() {
		return ""
	}
	return l.t.hold.core.name
}

// ID is unique to this acquisition: "<client's uuid>:<number>", which is in the
// value of the lock's key; or, of a mutex that was passed on inside the process,
// that and a number of its own after a dot.
func (l *Lease) ID() string {
	if l.zero() {
		return ""
	}
	return l.t.id()
}

// Token is the fencing token: it is greater than that of every earlier
// acquisition of the lock, also across expiry, a flush or a restart of Redis,
// unless the server's clock steps back by more than ten minutes. A re-entry and
// a downgrade keep theirs. That of a redlock is 0, which is none: see there. A
// resource that keeps the highest token it has seen and refuses lower ones is
// safe from holders that do not know yet that they lost the lock: see package
// guard.
func (l *Lease) Token() int64 {
	if l.zero() {
		return 0
	}
	return l.t.token() // set before the Lease was made, never after
}

// Done is closed once the lease is over, released or lost. After the process
// was paused it can lag behind the clock; Err does not.
func (l *Lease) Done() <-chan struct{} {
	if l.zero() {
		return closedChan
	}
	t := l.t
	l.t.hold.mu.Lock()
	defer l.t.hold.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.err != nil {
			close(t.done)
		}
	}
	return t.done
}

// Err is nil while the lease is held; then [ErrReleased], or an error that Is
// [ErrLost] and says why. It compares the clock at the call, without I/O.
func (l *Lease) Err() error {
	if l.zero() {
		return invalid("a nil or zero Lease")
	}
	return l.t.check()
}

// Deadline is until when the lease is held even if Redis never answers again,
// by this process's monotonic clock. Renewal moves it on; of a redlock, a server
// that forgot the lock can move it back.
func (l *Lease) Deadline() time.Time {
	if l.zero() {
		return time.Time{}
	}
	return l.t.deadline()
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
	err := l.t.renewNow(ctx)
	runtime.KeepAlive(l)
	return err
}

// Release gives the lock back and, in the same step, to the next waiter: at the
// server, or, of a mutex, to a goroutine of this process. The lease is over when
// Release is called, before anything is sent: its Done is closed and its Err is
// [ErrReleased], whatever Release returns.
//
// ctx gives values only: Release works when ctx has ended, so that
// "defer lease.Release(ctx)" is right. Inside the process it does not block; else
// it blocks for one round trip, 2 s at most as far as the go-redis client heeds
// deadlines.
//
// It returns nil once that is done. ErrReleased means that the lease was released
// before; nothing was sent. An error that Is [ErrLost] means that the lease was over
// before. If Redis refuses for good, as for want of rights, the error says so, and
// the lock is free at its TTL. Any other error means that nobody knows; the client
// goes on trying in the background until the lock is free by itself.
func (l *Lease) Release(ctx context.Context) error {
	if l.zero() {
		return invalid("Release of a nil or zero Lease")
	}
	if ctx == nil {
		return invalid("Release of %q: the context is nil", l.Name())
	}
	l.leak.Stop()
	err := l.t.release(ctx)
	runtime.KeepAlive(l)
	return err
}

func (t *tenure) id() string {
	if t.turn == 0 {
		return t.hold.id
	}
	return t.hold.id + "." + strconv.FormatInt(t.turn, 10)
}

func (t *tenure) token() int64 {
	if t.turn == 0 {
		return t.hold.token
	}
	return t.hold.token + t.turn
}

// deadline is the hold's; of a tenure that is over, when that was.
func (t *tenure) deadline() time.Time {
	t.hold.mu.Lock()
	defer t.hold.mu.Unlock()
	if t.hold.tenure != t {
		return t.ended
	}
	return t.hold.deadline
}

// closedChan is the Done of a lease that never was.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
