package holdfast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

// Downgrade makes a hold of k's weight of a heavier one of the same lock: see
// RWLock.Downgrade. Both are the same acquisition for Redis, by its id, so that
// a call whose answer was lost can be sent again, and a release finds whichever
// of the two there is.
func (k *Core) Downgrade(ctx context.Context, heavy *Lease) (*Lease, error) {
	if err := k.checkHeavy(ctx, heavy); err != nil {
		return nil, err
	}
	if err := k.begin(); err != nil {
		return nil, err
	}
	defer k.end()
	heavy.leak.Stop() // nobody may refer to it any more, and a leak would be released
	ended := endOf(ctx) != nil
	h, err := heavy.t.hold.lighten(k)
	if err != nil {
		return nil, err
	}
	if !ended {
		var cancel context.CancelFunc
		ctx, cancel = outlast(ctx, heavy.t.hold)
		defer cancel()
	}
	light, err := k.sendDowngrade(ctx, h, heavy.t.hold.token)
	if err != nil {
		k.refused(h.inquiry, err)
	}
	return light, err
}

// sendDowngrade sends until it is answered or ctx ends, and then gives back
// whichever hold there is.
func (k *Core) sendDowngrade(ctx context.Context, h *hold, token int64) (*Lease, error) {
	c := k.client
	for pause := firstRetry; endOf(ctx) == nil; pause = min(2*pause, lastRetry) {
		sent := time.Now()
		call := h.downgradeCall()
		_ = call.Do(ctx, c.rdb) // the error is in the call
		a, err := call.Acquired()
		switch {
		case err == nil && a.Status == lua.Gone:
			gone := h.goneReason(lua.Released{})
			h.leave()
			return nil, gone
		case err == nil:
			return k.lightened(ctx, h, a.Token, token, sent)
		case lua.FailureOf(err) == lua.Lasting:
			h.leave()
			return nil, k.failed(ctx, err)
		}
		h.failWith(err)
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-ctx.Done():
		case <-c.closing:
			h.leave()
			return nil, fmt.Errorf("holdfast: %q: %w", k.name, ErrClosed)
		}
		retry.Stop()
	}
	failure := h.failed()
	h.leave()
	if failure == nil {
		return nil, fmt.Errorf("holdfast: %q released, not downgraded: %w", k.name, endOf(ctx))
	}
	return nil, fmt.Errorf("holdfast: %q released, not downgraded: %w: %w", k.name, endOf(ctx), failure)
}

// checkHeavy refuses what cannot be downgraded, before anything changes.
func (k *Core) checkHeavy(ctx context.Context, heavy *Lease) error {
	switch {
	case k == nil:
		return invalid("a nil or zero lock: make it with New")
	case k.err != nil:
		return k.err
	case ctx == nil:
		return invalid("Downgrade of %q: the context is nil", k.name)
	case heavy.zero():
		return invalid("Downgrade of %q: a nil or zero Lease", k.name)
	}
	h := heavy.t.hold
	if limit := k.set.maxHold; limit > 0 && time.Since(h.acquired) > limit {
		return invalid("Downgrade of %q: WithMaxHold(%v) is over", k.name, limit)
	}
	if h.client != k.client || h.core.kind != k.kind || h.core.keys.Lock != k.keys.Lock || h.core.weight <= k.weight {
		return invalid("Downgrade of %q: the lease, of %q, is not one of its writer, or not of this client", k.name, heavy.Name())
	}
	return nil
}

// lighten ends the heavy hold for its holder and puts a lighter one in its place
// in the client's table, under the same id.
func (h *hold) lighten(k *Core) (*hold, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	light := k.newHold(h.client)
	light.number, light.id, light.heavier = h.number, h.id, h.request
	if h.inquiry != nil {
		light.inquiry = h.client.inquiry(h.inquiry.ctx)
	}
	h.mu.Lock()
	if h.state == over { // a Release, or Close, was faster
		defer h.mu.Unlock()
		return nil, h.err
	}
	finish := h.finish(ErrReleased)
	h.tellEnd(nil)
	h.leaving = true // its release is the lighter one's to send
	light.acquired, light.unanswered = h.acquired, h.unanswered
	light.leased, light.trace = true, true // a lease goes on, and there is something to give back
	h.mu.Unlock()
	h.client.replace(light)
	finish()
	h.client.dog.Cancel(&h.entry)
	return light, nil
}

// outlast is what bounds the call where ctx is one that the downgrade itself
// ended: within Do, or under Lease.Context. It has ctx's values and deadline, and
// ends with what the lease's context was made of. A cancellation between the two
// can no longer be seen.
func outlast(ctx context.Context, h *hold) (context.Context, context.CancelFunc) {
	var outer context.Context
	for lc := carried(ctx); lc != nil; lc = carried(lc.parent) {
		if !lc.lease.zero() && lc.lease.t.hold == h {
			outer = lc.parent //nolint:fatcontext // one of those that ctx came from
		}
	}
	if outer == nil || endOf(ctx) == nil {
		return ctx, func() {}
	}
	kept := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		kept, cancel = context.WithDeadline(kept, deadline)
	} else {
		kept, cancel = context.WithCancel(kept)
	}
	stop := context.AfterFunc(outer, cancel)
	return kept, func() {
		stop()
		cancel()
	}
}

// lightened turns the answer into a Lease. Under another token than the writer's
// it is no downgrade: the hold had ended, somebody else may have written, and a
// late copy of the first acquire brought it back.
func (k *Core) lightened(ctx context.Context, h *hold, token, heavy int64, sent time.Time) (*Lease, error) {
	if token != heavy {
		gone := h.goneReason(lua.Released{Taken: true})
		h.leave()
		return nil, gone
	}
	h.mu.Lock()
	acquired := h.acquired
	owned := h.own(token, sent)
	if owned {
		h.acquired = acquired // of the writer: what WithMinHold and WithMaxHold count from
	}
	h.mu.Unlock()
	if !owned {
		h.leave()
		return nil, &LostError{Name: k.name, ID: h.id, Reason: LostExpired, Err: errTooLate}
	}
	lease, err := k.granted(ctx, h)
	if errors.Is(err, errTooLate) {
		return nil, ErrClosed // Close has released it meanwhile
	}
	return lease, err
}

func (h *hold) failWith(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = err
}

func (h *hold) downgradeCall() *lua.Call {
	k := h.core
	h.mu.Lock()
	defer h.mu.Unlock()
	return lua.NewCall(lua.WeightedDowngrade, k.allKeys, h.id, h.heavier, k.lease, h.request, h.grave())
}
