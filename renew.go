package holdfast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// errUnanswered: the deadline came, or a caller stopped waiting, while a renewal
// was under way.
var errUnanswered = errors.New("holdfast: a renewal was not answered")

// lasting is for how long a lease lasts, from the send that gave it.
func (k *Core) lasting() time.Duration { return k.set.ttl - margin(k.set.ttl) }

// since is the send that gave the hold its deadline. With h.mu.
func (h *hold) since() time.Time { return h.deadline.Add(-h.core.lasting()) }

// scheduleRenewal sets the renewal at a third of the TTL after the last send
// that Redis confirmed, up to a tenth earlier so that leases taken together
// drift apart, and on a common grid so that those that are due about now share
// a pipeline. With h.mu.
func (h *hold) scheduleRenewal(since time.Time) {
	ttl := h.core.set.ttl
	third := ttl / 3
	due := since.Add(third - time.Duration(rand.Int64N(int64(third)/10+1))) //nolint:gosec // spread, not secrecy
	if grid := ttl / 300; grid > 0 {
		offset := due.Sub(h.client.started) % grid
		due = due.Add(-offset)
	}
	if !h.renewable(due) {
		due = h.deadline
	}
	if early := time.Now().Add(listenAfter); h.deaf && early.Before(due) {
		due = early
	} else {
		h.deaf = false
	}
	h.client.dog.Schedule(&h.entry, due)
}

// listen lets the client hear what becomes of what it holds: a lease that is taken
// away by force. Not before it has been held for a while: a client whose locks are
// free and held for moments has no use for a subscription. With h.mu.
func (h *hold) listen() {
	h.deaf = false
	h.client.inbox.Start()
	h.scheduleRenewal(h.since())
}

// renewable tells whether the lease may be renewed at that time. With h.mu.
func (h *hold) renewable(at time.Time) bool {
	limit := h.core.set.maxHold
	return h.core.set.renew && (limit == 0 || !at.After(h.acquired.Add(limit)))
}

// renew is a renewal for the watchdog to send. With h.mu.
func (h *hold) renew(now time.Time) (watchdog.Send, bool) {
	h.client.dog.Schedule(&h.entry, h.deadline)            // watched while the call is under way
	if h.renewing || !h.renewable(now) || h.parts != nil { // parts renew themselves
		return watchdog.Send{}, false
	}
	h.renewing = true
	return watchdog.Send{
		Call:  h.renewCall(),
		Limit: min(h.core.set.ttl/6+h.core.set.replicaTimeout, h.deadline.Sub(now)),
		Done:  func(call *lua.Call) { h.renewed(call, now) },
	}, true
}

// renewed takes in the answer of the watchdog's renewal.
func (h *hold) renewed(call *lua.Call, sent time.Time) {
	h.mu.Lock()
	h.renewing = false
	h.mu.Unlock()
	_ = h.extend(call, sent) // a failure is unknown: it is tried again inside the lease
	h.changed()
}

// extend takes in the answer of a renewal sent at that time: the lease is
// extended, lost, or stays as it is because nobody knows.
func (h *hold) extend(call *lua.Call, sent time.Time) error {
	r, err := call.Released()
	if err == nil && r.Held {
		err = h.core.shortfall(call)
	}
	h.mu.Lock()
	if h.state == held && !time.Now().Before(h.deadline) {
		// The answer came too late: who looked at the lease meanwhile was told
		// that it is over, and that stays so.
		if err != nil {
			h.fail(err)
		}
		why := h.timeoutReason()
		h.endAndRelease(why)
		return why
	}
	if h.state != held {
		defer h.mu.Unlock()
		return h.err
	}
	switch {
	case err != nil:
		h.fail(err)
		retry := time.Now().Add(max(h.core.set.ttl/12, time.Millisecond))
		if retry.After(h.deadline) {
			retry = h.deadline
		}
		h.client.dog.Schedule(&h.entry, retry)
	case r.Held:
		h.failure = nil
		if d := sent.Add(h.core.lasting()); d.After(h.deadline) {
			h.deadline = d
		}
		if h.told {
			h.tell(Event{Type: EventRenewed, Held: time.Since(h.acquired)})
		}
		h.scheduleRenewal(sent)
	default:
		why := h.goneReason(r)
		h.endAndRelease(why)
		return why
	}
	h.mu.Unlock()
	return err
}

// renewNow is Lease.Renew.
func (t *tenure) renewNow(ctx context.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	h := t.hold
	if limit := h.core.set.maxHold; limit > 0 && time.Since(t.acquired) > limit {
		return invalid("Renew of %q: WithMaxHold(%v) is over", h.core.name, limit)
	}
	if end := endOf(ctx); end != nil {
		return fmt.Errorf("holdfast: renewal of %q not sent: %w", h.core.name, end)
	}
	err := h.renewOnce(ctx)
	if over := t.check(); over != nil {
		return over // released meanwhile, if not lost
	}
	if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrReleased) {
		return err
	}
	if end := endOf(ctx); end != nil {
		return fmt.Errorf("holdfast: renewal of %q: unknown: %w: %w", h.core.name, end, err)
	}
	return fmt.Errorf("holdfast: renewal of %q: unknown: %w", h.core.name, err)
}

// renewOnce sends one renewal and takes its answer in.
func (h *hold) renewOnce(ctx context.Context) error {
	if h.parts != nil {
		return h.renewParts(ctx)
	}
	sent := time.Now()
	call := h.renewCall()
	_ = call.Do(ctx, h.client.rdb) // the error is in the call
	return h.extend(call, sent)
}

// timeoutReason is why a lease ended by the clock. With h.mu.
func (h *hold) timeoutReason() *LostError {
	e := &LostError{Name: h.core.name, ID: h.tenure.id(), Reason: LostExpired, Err: h.silence()}
	if e.Err != nil {
		e.Reason = LostUnreachable
	}
	return e
}

// silence is what kept a lease from being renewed; nil: nothing did. With h.mu.
func (h *hold) silence() error {
	switch {
	case h.parts != nil:
		return h.silenceOfParts()
	case h.failure == nil && h.renewing:
		return errUnanswered
	}
	return h.failure
}

// goneReason is why Redis says that a lease is over.
func (h *hold) goneReason(r lua.Released) *LostError {
	e := &LostError{Name: h.core.name, ID: h.tenure.id(), Reason: LostRemoved}
	if r.Taken {
		e.Reason = LostTaken
	}
	return e
}
