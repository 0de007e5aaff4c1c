package holdfast

import (
	"context"

	"github.com/holdfast-go/holdfast/internal/owner"
)

// attachment is one context that ends with the lease.
type attachment struct {
	cancel context.CancelCauseFunc
	stop   func() bool // of the function that detaches it
}

// leaseContext is a context that ends with its parent or with its lease.
type leaseContext struct {
	context.Context                 //nolint:containedctx // it is a context
	parent          context.Context //nolint:containedctx // goes on when the lease is over
	lease           *Lease
}

type leaseKey struct{}

// Context returns a context derived from parent that is cancelled when the
// lease is over, with the lease's Err as its cause. Its own Err compares the
// clock, as the lease's does, so it is right even just after the process was
// paused. It starts no goroutine of its own and holds nothing once parent or
// the lease is over. While it, or a context derived from it, is in use, the
// lease counts as reachable. A nil parent gives a context that is over, with a
// cause that Is [ErrInvalid].
func (l *Lease) Context(parent context.Context) context.Context {
	wrong := parent == nil
	if wrong {
		parent = context.Background() //nolint:forbidigo // to say what is wrong by
	}
	inner, cancel := context.WithCancelCause(parent)
	lc := &leaseContext{Context: inner, parent: parent, lease: l}
	switch {
	case wrong:
		cancel(invalid("Context of %q: the parent is nil", l.Name()))
		return lc
	case l.zero():
		cancel(l.Err())
		return lc
	}
	t := l.t
	a := &attachment{cancel: cancel}
	t.hold.mu.Lock()
	if err := t.err; err != nil {
		t.hold.mu.Unlock()
		cancel(err)
		return lc
	}
	if t.attached == nil {
		t.attached = map[*attachment]struct{}{}
	}
	t.attached[a] = struct{}{}
	// Runs when the parent ends first; the lease's end stops it.
	a.stop = context.AfterFunc(inner, func() { t.detach(a) })
	t.hold.mu.Unlock()
	return lc
}

func (t *tenure) detach(a *attachment) {
	t.hold.mu.Lock()
	defer t.hold.mu.Unlock()
	delete(t.attached, a)
}

// Err looks at the lease first, which cancels the context if it is over.
func (c *leaseContext) Err() error {
	if c.lease.Err() != nil {
		if err := c.Context.Err(); err != nil {
			return err
		}
		return context.Canceled // another goroutine is about to cancel it
	}
	return c.Context.Err()
}

// Value also knows the lease and, while it is held, its owner. A lease that is
// over has none, nor does what is around it count: what locks in its name then
// must not re-enter.
func (c *leaseContext) Value(key any) any {
	switch key {
	case leaseKey{}:
		return c
	case owner.Key{}:
		if c.lease.zero() || c.lease.t.hold.owner == "" {
			break
		}
		if c.lease.t.check() != nil {
			return nil
		}
		return c.lease.t.hold.owner
	}
	return c.Context.Value(key)
}

// carried is the innermost lease context that ctx came from.
func carried(ctx context.Context) *leaseContext {
	lc, _ := ctx.Value(leaseKey{}).(*leaseContext)
	return lc
}

// FromContext returns the innermost lease that ctx came from, by Lease.Context
// or Do. The lease may be over.
func FromContext(ctx context.Context) (*Lease, bool) {
	if ctx == nil {
		return nil, false
	}
	lc := carried(ctx)
	if lc == nil {
		return nil, false
	}
	return lc.lease, true
}
