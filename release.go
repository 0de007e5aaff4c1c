package holdfast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// finish ends the hold, and for its holder: see tenure.end. Nothing was sent yet.
// With h.mu; the returned function is called without.
func (h *hold) finish(err error) func() {
	h.state, h.ending = over, err
	cancel := h.end(err)
	if h.core.local {
		h.neighbour = h.client.lanes.Freed(h.core.laneKey, h)
	}
	return func() {
		if cancel != nil {
			cancel()
		}
		if n := h.neighbour; n != nil {
			n.leave()
		}
	}
}

// endAndRelease ends a held hold and lets the watchdog give back what is left of
// it. With h.mu, which it unlocks.
func (h *hold) endAndRelease(err error) {
	finish := h.finish(err)
	h.tellEnd(err)
	h.mu.Unlock()
	finish()
	h.startRelease()
}

// check is Lease.Err: it compares the clock, so that it is right even before
// any timer of this process ran.
func (t *tenure) check() error {
	h := t.hold
	h.mu.Lock()
	if t.err != nil {
		defer h.mu.Unlock()
		return t.err
	}
	if h.state != held || time.Now().Before(h.deadline) {
		h.mu.Unlock()
		return nil
	}
	why := h.timeoutReason()
	h.endAndRelease(why)
	return why
}

// startRelease lets the watchdog send the release, now and again until it is answered.
func (h *hold) startRelease() {
	if h.parts != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.leaveParts()
		return
	}
	if h.part != nil && h.part.waits(h) {
		return
	}
	h.client.dog.Schedule(&h.entry, time.Now())
}

// release is Lease.Release.
func (t *tenure) release(ctx context.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	h := t.hold
	h.mu.Lock()
	if t.err != nil { // another Release, or Close, was faster
		defer h.mu.Unlock()
		return t.err
	}
	if passed, err := h.passOn(); passed {
		return err
	}
	finish := h.finish(ErrReleased)
	h.leaving = true // this goroutine sends it, and the watchdog must not
	neighbour := h.neighbour
	h.neighbour = nil // its leave is sent before, with the same
	h.mu.Unlock()
	finish()
	h.client.dog.Cancel(&h.entry)
	err := h.sendRelease(ctx, neighbour)
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(err, ErrLost) {
		t.verdict = err
	}
	t.tellEnd(err)
	return err
}

// passOn ends the tenure and gives the hold to somebody else in this process, if
// both may be. With h.mu, which it unlocks if so. The error is what Release returns:
// the hold can end before it is given.
func (h *hold) passOn() (done bool, err error) {
	t, now := h.tenure, time.Now()
	if !h.mayPass(now) {
		return false, nil
	}
	told := t.told
	t.told = false // the end is for this goroutine to tell
	if cancel := t.end(ErrReleased); cancel != nil {
		h.mu.Unlock()
		cancel() // before anybody else has the lock
		h.mu.Lock()
	}
	t.told = told
	switch {
	case h.state != held && errors.Is(h.ending, ErrLost):
		err = h.ending
		t.verdict = err
	case h.state != held:
		err = fmt.Errorf("holdfast: release of %q: unknown: left to Close: %w", h.core.name, ErrClosed)
	case !h.pass(now):
		return false, nil
	}
	t.tellEnd(err)
	h.mu.Unlock()
	return true, err
}

// found is what the first Release found, if that the lease was lost.
func (t *tenure) found() error {
	t.hold.mu.Lock()
	defer t.hold.mu.Unlock()
	return t.verdict
}

// sendRelease sends the release until it is answered, for two seconds at most,
// then hands it to the watchdog.
func (h *hold) sendRelease(ctx context.Context, neighbour *hold) error {
	if h.parts != nil {
		return h.releaseParts()
	}
	ctx = context.WithoutCancel(ctx)
	doubt := false // an earlier copy may have been done
	for pause := releaseRetry; ; pause *= 2 {
		r, err := h.attempt(ctx, h.releaseCall(), neighbour)
		neighbour = nil
		if err == nil {
			h.confirmed(r)
			return h.judge(r, doubt)
		}
		failure := lua.FailureOf(err)
		if failure == lua.Lasting {
			h.client.forget(h)
			return fmt.Errorf("holdfast: release of %q refused: %w", h.core.name, err)
		}
		doubt = doubt || failure == lua.Unknown
		if time.Since(h.ended)+pause < releaseWait-2*attemptWait {
			timer := time.NewTimer(pause)
			<-timer.C
			continue
		}
		if failure == lua.Passing && h.drop(ctx) {
			return nil
		}
		h.mu.Lock()
		h.leaving = false
		h.mu.Unlock()
		h.startRelease()
		return fmt.Errorf("holdfast: release of %q: unknown: %w", h.core.name, err)
	}
}

// attempt sends a call once, after the leave of neighbour if there is one. It takes
// a part of the time only: where one connection hangs, another may answer.
func (h *hold) attempt(ctx context.Context, call *lua.Call, neighbour *hold) (lua.Released, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWait)
	defer cancel()
	if leave := neighbour.parting(); leave != nil {
		lua.DoAll(ctx, h.client.rdb, []*lua.Call{leave, call}) // in this order, or it might be granted
		neighbour.left(leave)
		return call.Released()
	}
	_ = call.Do(ctx, h.client.rdb) // the error is in the call
	return call.Released()
}

// judge is what Release returns for an answer. Redis cannot say whether an
// earlier copy, whose answer was lost, did it: "not held" then counts as
// released if the lease was not over when the first copy was sent.
func (h *hold) judge(r lua.Released, doubt bool) error {
	if r.Held || doubt && h.ended.Before(h.deadline) {
		return nil
	}
	return h.goneReason(r)
}

// drop ends the hold with a script of no more keys than hold it, which also runs
// where one of all keys does not: in a cluster slot that migrates. It knows
// neither a minimum hold nor tombstones: else the watchdog goes on.
func (h *hold) drop(ctx context.Context) bool {
	h.mu.Lock()
	plain := !h.unanswered && h.rest() == 0 && h.heavier == none && time.Now().Before(h.deadline)
	h.mu.Unlock()
	if !plain {
		return false
	}
	r, err := h.attempt(ctx, h.dropCall(), nil)
	if err != nil || !r.Held {
		return false
	}
	h.confirmed(r)
	return true
}

// confirmed is called once Redis says that nothing is left of the hold.
func (h *hold) confirmed(r lua.Released) {
	h.client.forget(h)
	h.client.after(h.core, r)
}

// after does what a script's answer leaves to do.
func (c *Client) after(k *Core, r lua.Released) {
	if r.Muted {
		c.muted()
	}
	if r.More {
		c.pumpLater(k)
	}
}

// leave ends a hold that nobody will use: it gave up waiting, or holds what its
// caller no longer wants. It never blocks; the watchdog sends what must be sent.
func (h *hold) leave() {
	if h.depart(false) {
		h.startRelease()
	}
}

// parting is leave for a caller who sends the returned call, and gives it to left;
// nil: there is nothing to send.
func (h *hold) parting() *lua.Call {
	if h == nil || !h.depart(true) {
		return nil
	}
	return h.releaseCall()
}

// depart ends a hold that nobody will use, unless Close was faster, and tells
// whether something must be sent: by the caller, if it takes that on.
func (h *hold) depart(taken bool) (trace bool) {
	h.mu.Lock()
	if h.state == over {
		h.mu.Unlock()
		return false
	}
	finish, trace := h.discard()
	h.leaving = trace && taken // the watchdog must not
	h.mu.Unlock()
	finish()
	if !trace || taken {
		h.client.dog.Cancel(&h.entry)
	}
	if !trace {
		h.client.forget(h)
	}
	return trace
}

// discard ends a hold that nobody will use, and tells whether something of it may
// be in Redis. With h.mu.
func (h *hold) discard() (finish func(), trace bool) {
	if h.polling && !h.answered { // its first acquire is under way
		h.unanswered, h.trace = true, true
	}
	return h.finish(ErrReleased), h.trace
}

// close ends a hold because its client is closed, or that of one of its parts.
// What still waits ends by itself.
func (h *hold) close() {
	if h.part != nil {
		h.part.whole.close()
		return
	}
	h.mu.Lock()
	switch h.state {
	case held:
		h.endAndRelease(ErrReleased)
		return
	case waiting:
		h.rouse()
	case over:
		h.client.dog.Schedule(&h.entry, time.Now()) // a release that waits for its next try
	}
	h.unlock()
}

// abandon ends a lease to which nobody refers any more.
func (t *tenure) abandon() {
	h := t.hold
	h.mu.Lock()
	if t.err != nil {
		h.mu.Unlock()
		return
	}
	h.client.warn("a lease was dropped without Release and is released now",
		keyKind, h.core.kind.Name, keyName, h.core.name, keyID, t.id())
	h.endAndRelease(ErrReleased)
}

// giveUp ends the tenure of somebody who no longer wants it, unless there is a
// Lease of it. It never blocks.
func (t *tenure) giveUp() {
	h := t.hold
	h.mu.Lock()
	if t.err != nil || t.leased {
		h.mu.Unlock()
		return
	}
	if done, _ := h.passOn(); !done {
		h.endAndRelease(ErrReleased)
	}
}

// releaseAgain is a release for the watchdog to send. With h.mu.
func (h *hold) releaseAgain() (watchdog.Send, bool) {
	if h.parts != nil {
		h.leaveParts()
		return watchdog.Send{}, false
	}
	if h.leaving {
		return watchdog.Send{}, false
	}
	h.leaving = true
	limit := releaseWait
	if h.part != nil {
		limit = attemptWait // somebody may wait for it
	}
	return watchdog.Send{Call: h.releaseCallLocked(), Limit: limit, Done: h.left}, true
}

// left takes in the answer of the watchdog's release.
func (h *hold) left(call *lua.Call) {
	if h.part != nil {
		h.reportPart()
	}
	r, err := call.Released()
	h.concluded(r, err)
	if err == nil {
		h.confirmed(r)
		return
	}
	h.mu.Lock()
	h.leaving = false
	h.retries++
	// When its TTL is over nothing is left to give back. A place in the queue
	// ends by itself, too; until then it can be granted, however Redis refuses its
	// leave now, so it stays known. Only Close does not wait for what may never be.
	givenUp := time.Since(h.ended) > h.core.set.ttl+margin(h.core.set.ttl)
	wait := min(firstRetry<<min(h.retries, 16), lastRetry)
	lasting := lua.FailureOf(err) == lua.Lasting
	if lasting {
		wait = lastRetry
	}
	h.mu.Unlock()
	if givenUp || lasting && (h.part != nil || h.core.closed()) {
		h.client.forget(h)
		if h.part == nil { // a server that is down is nothing new for a lock on a majority
			h.client.warn("release not confirmed", keyKind, h.core.kind.Name, keyName, h.core.name, keyID, h.id, keyError, err)
		}
		return
	}
	h.client.dog.Schedule(&h.entry, time.Now().Add(wait))
}

// pumpLater lets the watchdog run the grant loop on until it reaches its end.
func (c *Client) pumpLater(k *Core) {
	c.dog.Send(watchdog.Send{
		Call:  k.pumpCall(),
		Limit: releaseWait,
		Done: func(call *lua.Call) {
			// A failure is left to the polls of those who wait.
			if r, err := call.Released(); err == nil && r.More {
				c.pumpLater(k)
			}
		},
	})
}
