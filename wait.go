package holdfast

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// seek waits until the hold is held, or was (nil), has lost its place (errPlaceLost),
// something else was given (errGiven), it fails for good, or ctx or the client ends.
// The polls are the watchdog's; this goroutine sends the first acquire, unless
// another goroutine of this process holds the lock, which may give it at any time.
func (h *hold) seek(ctx context.Context, t *ticket) error {
	if h.parts != nil {
		return h.seekMajority(ctx, t)
	}
	own := h.core.newPace()
	if h.placed() {
		h.client.inbox.Start()
		_, err := h.await(ctx, t, &own, nil)
		return err
	}
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		a, err := h.ask(ctx, modeLock)
		switch {
		case err == errTooLate: //nolint:errorlint // ask returns it as it is
			return errPlaceLost // the lease ran out while its reply was under way: start over
		case err != nil && lua.FailureOf(err) == lua.Lasting:
			return err
		case err == nil && a.Status == lua.Yours:
			return nil
		case err == nil && a.Status == lua.Gone:
			return errPlaceLost
		}
		retry := time.NewTimer(pause)
		if err == nil {
			retry.Stop() // it has a place: from now on the watchdog polls
			t.Tell(news{answer: a, at: time.Now()})
			h.client.inbox.Start()
			defer h.hear()()
		} else {
			// Not applied, or unknown: the same id again is right in both cases.
			t.Tell(news{failure: h.failed()})
		}
		done, err := h.await(ctx, t, &own, retry.C)
		retry.Stop()
		if done {
			return err
		}
	}
}

// placed tells whether there is nothing to send for this goroutine: the hold has a
// place, or may, from one who waited before; or it is the watchdog's to take one.
func (h *hold) placed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != waiting || h.answered || h.background {
		return true
	}
	if !h.core.local || h.trace || h.lane.Holder() == nil {
		return false
	}
	h.background = true
	h.client.dog.Schedule(&h.entry, time.Now())
	return true
}

// await sleeps until something changes. Not done: the first acquire is to be
// sent again.
func (h *hold) await(ctx context.Context, t *ticket, pace *pace, retry <-chan time.Time) (done bool, err error) {
	defer func() {
		if t.Stir() {
			done, err = true, errGiven
		}
	}()
	for wake := t.Sleep(); ; {
		h.mu.Lock()
		s, stopped, last, failure := h.state, h.stopped, h.news, h.failure
		h.mu.Unlock()
		switch {
		case !last.at.IsZero():
			t.Tell(last)
		case failure != nil:
			t.Tell(news{failure: failure})
		}
		// Over: it was granted, and its lease ended before this goroutine ran.
		if s != waiting || stopped != nil {
			return true, stopped
		}
		h.setInterval(pace.next(h.core.set.backOff))
		select {
		case <-wake:
			if t.Given() {
				return true, errGiven
			}
		case <-retry:
			return false, nil
		case <-ctx.Done():
			return true, ctx.Err()
		case <-h.client.closing:
			return true, ErrClosed
		}
	}
}

// setInterval sets the pace of the polls to come. The BackOff is the user's code:
// it runs on the goroutine that waits, never on the watchdog's.
func (h *hold) setInterval(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interval = d
}

// notYet takes in that somebody else is first, and schedules the next poll: by
// the waiter's own pace, or when the holder's lease ends if this is the next in
// line. With h.mu.
func (h *hold) notYet(a lua.Acquired, sent time.Time, interval time.Duration) {
	h.base = sent
	h.seen = max(h.seen, a.Token)
	h.news = news{answer: a, at: time.Now()}
	if h.core.local && h.lane != nil {
		h.lane.Settle(h)
		if holder := h.lane.Holder(); holder != nil {
			holder.hears(a.Places - 1)
		}
	}
	wait := interval
	if !h.client.inbox.Live() || a.Foreign && a.Ahead == 0 {
		wait = min(wait, foreignPoll) // nobody will wake it
	}
	if a.Ahead == 0 && !a.Endless && !a.Free {
		wait = min(wait, a.Remaining+expirySlack)
	}
	if a.More || h.again { // a script stopped at its bound, or something may have been missed
		wait, h.again = 0, false
	}
	due := sent.Add(wait)
	if h.core.kind.Shared && a.Ahead > 0 {
		due = h.together(due, wait)
	}
	h.client.dog.Schedule(&h.entry, due)
}

// together moves a poll up to a quarter of its interval forward, to a time that
// it has in common with others: a client may have many places in one queue, and
// their polls go as one command if they are due at once.
func (h *hold) together(due time.Time, interval time.Duration) time.Time {
	grid := interval / 4
	for unit := minInterval; unit <= grid; unit *= 2 { // one of a few, so that grids coincide
		if 2*unit > grid {
			return due.Add(-(due.Sub(h.client.started) % unit))
		}
	}
	return due
}

// poll asks how the place stands, or for one. With h.mu.
func (h *hold) poll(now time.Time) (watchdog.Send, bool) {
	if h.polling || !h.answered && !h.background || h.part != nil && !h.part.may(now, h) {
		return watchdog.Send{}, false
	}
	h.polling, h.again = true, false
	mode := modePoll
	if !h.answered {
		mode = modeLock
		if h.base.IsZero() {
			h.base = now
		}
		if holder := h.lane.Holder(); holder != nil {
			mode = modeNext
			holder.succession.reserved.Store(true) // by the script
		}
	}
	interval := h.interval
	return watchdog.Send{
		Call: h.acquireCall(mode, liveness(interval).Milliseconds()),
		// A poll that stalls must leave time for another within the liveness.
		Limit: max(min(h.core.set.ttl/6, interval), pollFloor),
		Done:  func(call *lua.Call) { h.polled(call, now, interval) },
	}, true
}

// polled takes in the answer of a poll that was sent at that time.
func (h *hold) polled(call *lua.Call, sent time.Time, interval time.Duration) {
	defer h.changed() // when h.mu is free again
	a, err := call.Acquired()
	if a.Muted {
		h.client.muted()
	}
	h.mu.Lock()
	defer h.unlock()
	h.polling = false
	first := !h.answered && h.background
	h.answered = h.answered || err == nil
	h.trace = h.trace || first && (err == nil || lua.FailureOf(err) == lua.Unknown)
	if h.state != waiting { // granted by a wake-up, or left
		if a.More {
			h.client.pumpLater(h.core)
		}
		return
	}
	if err != nil {
		h.fail(err)
		if lua.FailureOf(err) == lua.Lasting {
			h.stopped = err
			h.rouse()
			return
		}
		if first {
			h.unanswered = h.unanswered || lua.FailureOf(err) == lua.Unknown
			h.rouse() // for others to know
		}
		h.client.dog.Schedule(&h.entry, time.Now().Add(min(interval, lastRetry)))
		return
	}
	h.failure = nil
	switch a.Status {
	case lua.Yours:
		if h.own(a.Token, sent) {
			h.handed = !first
			return
		}
		h.stopped = errPlaceLost
		h.rouse()
	case lua.Gone:
		h.stopped = errPlaceLost
		h.rouse()
	case lua.Busy:
		h.notYet(a, sent, interval)
		h.rouse()
	}
}
