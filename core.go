package holdfast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// Locker is what the exclusive locks have in common, and rwlock's readers: for
// code that does not care which it is given.
type Locker interface {
	Lock(ctx context.Context) (*Lease, error)
	TryLock(ctx context.Context) (*Lease, error)
	Do(ctx context.Context, fn func(context.Context) error) error
}

// Core is the engine of one lock. The lock packages are thin faces over it;
// programs use those: a Core can be made only with a kind, which is internal to
// this module.
type Core struct {
	client  *Client
	nodes   []*Client // one, or of a lock on a majority all; the first is client
	kind    *kind.Kind
	name    string
	set     settings
	keys    keys.Set
	group   string  // of a lock on a majority: which clients, for the process's own queue
	local   bool    // a lease may pass from goroutine to goroutine inside the process
	laneKey laneKey // of those who wait for it
	err     error   // what was wrong in NewCore

	weight, limit int64 // what a hold takes, of how much

	// Arguments of each call, boxed once: see bind.
	allKeys, holdKeys       []any
	request, lease, channel any
	interval                time.Duration // until the first poll of a wait
	liveness                any           // of a first acquire
}

// All is the weight of a hold beside which there is no other: a writer's. It is
// also the highest limit.
const All = 1_000_000_000

// NewCore binds a kind of lock to a name. It does no I/O; what is wrong with
// its arguments is returned by the first call.
func NewCore(c *Client, k *kind.Kind, name string, opts ...Option) *Core {
	core := &Core{client: c, nodes: []*Client{c}, kind: k, name: name, weight: 1, limit: 1, channel: none}
	if c == nil || c.rdb == nil {
		core.err = invalid("%s %.64q: the Client is nil or was not made by New", k.Name, name)
		return core
	}
	var err error
	if core.set, err = c.defaults.with(true, opts); err != nil {
		core.err = invalid("%s %.64q: %w", k.Name, name, err)
		return core
	}
	if core.keys, err = keys.For(core.set.prefix, k.Name, name); err != nil {
		core.err = invalid("%s: %w", k.Name, err)
		return core
	}
	if core.err = core.redissonChannel(); core.err != nil {
		return core
	}
	core.bind()
	return core
}

// Weighing is the same lock where a hold takes weight of limit. For kinds that
// several may hold at once. What is wrong with the numbers is returned by the
// first call.
func (k *Core) Weighing(weight, limit int64) *Core {
	w := *k
	w.weight, w.limit = weight, limit
	switch {
	case k.err != nil:
		return &w
	case limit < 1 || limit > All:
		w.err = invalid("%s %q: a limit of %d, not between 1 and %d", k.kind.Name, k.name, limit, int64(All))
	case weight < 1 || weight > limit:
		w.err = invalid("%s %q: n = %d, not between 1 and the limit, %d", k.kind.Name, k.name, weight, limit)
	default:
		w.request = w.requestFor("")
	}
	return &w
}

// Name is the name that the lock was made with.
func (k *Core) Name() string {
	if k == nil {
		return ""
	}
	return k.name
}

// usable refuses a call on what is no lock, or without a context.
func (k *Core) usable(ctx context.Context) error {
	switch {
	case k == nil:
		return invalid("a nil or zero lock: make it with New")
	case k.err != nil:
		return k.err
	case ctx == nil:
		return invalid("%s %q: the context is nil", k.kind.Name, k.name)
	}
	return nil
}

// check refuses a call that cannot make sense before anything is sent, and tells
// for which owner it is.
func (k *Core) check(ctx context.Context) (owner string, err error) {
	if err := k.usable(ctx); err != nil {
		return "", err
	}
	if end := endOf(ctx); end != nil {
		return "", fmt.Errorf("holdfast: %q not tried: %w", k.name, end)
	}
	if k.kind.Owned {
		return k.ownerIn(ctx)
	}
	return "", k.checkCarried(ctx)
}

// TryLock makes one attempt: one round trip, or a few if a connection breaks.
func (k *Core) TryLock(ctx context.Context) (*Lease, error) { return k.acquire(ctx, (*Core).try) }

// acquire checks a call, lets it go on in one way or another, and tells what comes
// of it.
func (k *Core) acquire(
	ctx context.Context, by func(k *Core, ctx context.Context, owner string, i *inquiry) (*Lease, error),
) (*Lease, error) {
	owner, err := k.check(ctx)
	if err != nil {
		return nil, err
	}
	if err = k.begin(); err != nil {
		return nil, err
	}
	defer k.end()
	i := k.client.inquiry(ctx)
	lease, err := by(k, ctx, owner, i)
	if err != nil {
		k.refused(i, err)
	}
	return lease, err
}

func (k *Core) try(ctx context.Context, owner string, i *inquiry) (*Lease, error) {
	h := k.register(owner, i)
	if h.parts != nil {
		return k.tryMajority(ctx, h)
	}
	for try := 1; ; try++ {
		a, err := h.ask(ctx, modeTry)
		switch {
		case err == nil && a.Status == lua.Yours:
			if k.local {
				h.ifHeld(func() { k.client.lanes.Hold(k.laneKey, h) })
			}
			return k.granted(ctx, h)
		case err == nil && a.More:
			if err = k.pump(ctx); err == nil {
				continue // busy only once nothing dead is in the way
			}
		case err == nil:
			// A try takes no place, so there is none to leave, unless an
			// earlier copy was lost on its way.
			h.leave()
			return nil, k.held(a, 0)
		case lua.FailureOf(err) == lua.Unknown && !isTimeout(err) && endOf(ctx) == nil && try < tryAttempts:
			continue // the same id again: if the lost copy was done, it is ours
		}
		h.leave()
		return nil, k.failed(ctx, err)
	}
}

// Lock waits until the lock is acquired or ctx ends.
func (k *Core) Lock(ctx context.Context) (*Lease, error) {
	if k != nil && k.set.maxWait == 0 {
		return k.TryLock(ctx)
	}
	return k.acquire(ctx, (*Core).wait)
}

func (k *Core) wait(ctx context.Context, owner string, i *inquiry) (*Lease, error) {
	wait := ctx
	if k.set.maxWait > 0 {
		limited, cancel := context.WithTimeout(ctx, k.set.maxWait)
		defer cancel()
		wait = limited
	}
	for {
		lease, err := k.queue(ctx, wait, owner, i)
		if !errors.Is(err, errTooLate) {
			return lease, err
		}
		// Its time ran out before anybody could use it.
	}
}

// queue waits in the lane, and at its front for Redis. wait is ctx, or ends before.
func (k *Core) queue(ctx, wait context.Context, owner string, i *inquiry) (*Lease, error) {
	t, front := k.enter(owner)
	defer k.leaveLane(t)
	if !front {
		switch err := k.stand(wait, t); {
		case errors.Is(err, errGiven):
			return k.inherit(ctx, wait, t, i)
		case err != nil:
			return nil, k.ended(ctx, wait, t, err, t.Lane().Place().failed())
		}
	}
	var short error // of the replicas
	for pause := firstRetry; ; {
		h := k.place(t, owner, i)
		err := h.seek(wait, t)
		switch {
		case errors.Is(err, errGiven):
			return k.inherit(ctx, wait, t, i)
		case err == nil && wait.Err() == nil:
			lease, refused := k.granted(wait, h)
			switch {
			case errors.Is(refused, errTooLate):
				continue // its time ran out before anybody could use it
			case refused == nil && k.local:
				h.ifHeld(func() { t.Served(h) })
				return lease, nil
			case refused == nil || !k.unconfirmed(refused):
				return lease, refused
			}
			short = cmp.Or(shortIn(refused), short)
			k.client.rest(wait, pause)
			pause = min(2*pause, lastRetry)
			if wait.Err() == nil {
				continue
			}
		case errors.Is(err, errPlaceLost) && wait.Err() == nil:
			h.leave()
			continue
		}
		if !k.local || wait.Err() == nil || errors.Is(err, errPlaceLost) {
			h.leave() // else it goes to the next in the lane
		}
		return nil, k.ended(ctx, wait, t, err, cmp.Or(short, h.failed()))
	}
}

// ended makes the error of a wait that came to nothing.
func (k *Core) ended(ctx, wait context.Context, t *ticket, err, failure error) error {
	if wait.Err() != nil {
		return k.stopped(ctx, t, failure)
	}
	return fmt.Errorf("holdfast: %q: %w", k.name, err)
}

// granted turns an acquisition that holds the lock into a Lease.
func (k *Core) granted(ctx context.Context, h *hold) (*Lease, error) {
	if k.closed() {
		h.leave()
		return nil, fmt.Errorf("holdfast: %q: %w", k.name, ErrClosed)
	}
	if err := h.confirm(ctx); err != nil {
		h.leave()
		return nil, k.failed(ctx, err)
	}
	if !h.holding() {
		// Its reply came after its own deadline, or Close was faster.
		h.leave()
		return nil, k.failed(ctx, errTooLate)
	}
	return newLease(h.tenure), nil
}

// pump lets the script go on that stopped at its bound.
func (k *Core) pump(ctx context.Context) error {
	for {
		call := k.pumpCall()
		if err := call.Do(ctx, k.client.rdb); err != nil {
			return err
		}
		r, err := call.Released()
		if err != nil || !r.More {
			return err
		}
	}
}

// news is the lock's last word on who is in the way, for those who stop waiting.
type news struct {
	answer  lua.Acquired
	at      time.Time // of the answer; zero: none came
	failure error     // of Redis, in its place
}

// held makes the error of a lock that somebody else has.
func (k *Core) held(a lua.Acquired, age time.Duration) *HeldError {
	e := &HeldError{Name: k.name, Holder: a.Holder, Foreign: a.Foreign, Waiters: a.Places}
	if a.Remaining > 0 {
		e.Remaining = max(a.Remaining-age, time.Millisecond)
	}
	return e
}

// stopped makes the error of a Lock whose wait is over: who is in the way, that
// ctx ended unless the limit was WithMaxWait's, and Redis's failure if that was
// the reason.
func (k *Core) stopped(ctx context.Context, t *ticket, failure error) error {
	e := &HeldError{Name: k.name}
	if n, ok := t.News().(news); ok && !n.at.IsZero() {
		e = k.held(n.answer, time.Since(n.at))
	} else if failure == nil {
		failure = n.failure // the front could not ask, either
	}
	var err error = e
	if end := endOf(ctx); end != nil {
		err = fmt.Errorf("%w: %w", e, end)
	}
	if failure != nil {
		err = fmt.Errorf("%w: %w", err, failure)
	}
	return err
}

// failed makes the error of an attempt that Redis did not answer as it should.
func (k *Core) failed(ctx context.Context, err error) error {
	if end := endOf(ctx); end != nil {
		return fmt.Errorf("holdfast: %q not acquired: %w: %w", k.name, end, err)
	}
	return fmt.Errorf("holdfast: %q not acquired: %w", k.name, err)
}

// endOf is ctx.Err(), and beside it the cause if the caller gave one; nil while
// ctx lasts. go-redis puts a context's deadline on the connection, whose timer
// can be the earlier of the two: a deadline that has passed counts.
func endOf(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		if deadline, ok := ctx.Deadline(); !ok || time.Now().Before(deadline) {
			return nil
		}
		err = context.DeadlineExceeded
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
