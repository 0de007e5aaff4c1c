package holdfast

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// A hold on a majority has a part on each server. Each part is a hold as any
// other: its client's watchdog renews it, ends it at its own deadline, and sends
// its release until that is answered. The whole is what the Lease points to. It
// sends nothing; it counts its parts, whenever one of them changes, and its own
// entry in the schedule is there for its deadline.
//
// The mutex of the whole is taken before that of a part, never after it.

// part is what such a hold has beside. With the hold's mu, but for whole.
type part struct {
	whole   *hold
	asking  bool // its acquire is under way
	copies  int  // of its acquire that were sent
	refused bool // somebody else has this server, as answer says
	answer  lua.Acquired
	outcome outcome
	taken   bool // a notOurs said that somebody else holds it

	reported bool // that it was lost
}

// What a server did, where its own words would mislead.
var (
	errNoAnswer = errors.New("no answer in time") // the limit was ours, not the caller's
	errNotThere = errors.New("the lock is not there any more")
)

// serverError says which of several servers it was.
type serverError struct {
	number int // from 1, in the order of the clients
	err    error
}

func (e *serverError) Error() string { return fmt.Sprintf("server %d: %v", e.number, e.err) }

func (e *serverError) Unwrap() error { return e.err }

// nodeWait is how long one server may take to answer an acquire: a small part of
// the TTL, since it is lost from the lease, but enough for a connection to be
// made. A majority is not kept waiting by the rest, so this is felt only where
// there is none.
func nodeWait(ttl time.Duration) time.Duration {
	return min(max(ttl/200, 50*time.Millisecond), 500*time.Millisecond, ttl/4)
}

// enlist gives the whole new parts, under an id that no earlier try had. They are
// in the tables of their clients, so that Close finds them, before anything is
// sent. Earlier ones were left.
func (h *hold) enlist() {
	k := h.core
	parts := make([]*hold, len(k.nodes))
	for i, c := range k.nodes {
		n := k.newHold(c)
		n.part = &part{whole: h}
		parts[i] = n
		c.enter(n)
		n.id = parts[0].id
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts, h.id = parts, parts[0].id
}

// sendAcquires asks all servers at once.
func (h *hold) sendAcquires() {
	for _, n := range h.parts {
		n.mu.Lock()
		n.base = time.Now()
		n.trace = true // released even if it answers that it gave nothing
		n.sendAcquire()
		n.mu.Unlock()
	}
}

// sendAcquire lets the watchdog's senders send one copy. With h.mu.
func (h *hold) sendAcquire() {
	sent := time.Now()
	h.part.asking = true
	h.part.copies++
	h.client.dog.Send(watchdog.Send{
		Call:  h.acquireCall(modeTry, h.core.liveness),
		Limit: nodeWait(h.core.set.ttl) - sent.Sub(h.base),
		Done:  func(call *lua.Call) { h.asked(call, sent) },
	})
}

// asked takes in the answer to a part's acquire.
func (h *hold) asked(call *lua.Call, sent time.Time) {
	a, err := call.Acquired()
	if a.More {
		h.client.pumpLater(h.core) // the dead of another kind's queue are in the way
	}
	h.mu.Lock()
	h.part.asking = false
	if err != nil {
		h.unasked(err)
	} else {
		h.failure = nil
		h.part.refused = a.Status == lua.Busy
		h.part.answer = a
		if h.state == waiting && a.Status == lua.Yours && !h.own(a.Token, sent) {
			h.failure = errTooLate
		}
		if a.Status == lua.Gone { // of an id that nobody has left: no script says so
			h.failure = errPlaceLost
		}
	}
	late, trace := h.state == over && !h.part.asking, h.trace
	h.mu.Unlock()
	switch {
	case late && trace:
		h.startRelease() // which has waited for this
	case late:
		h.client.forget(h)
	}
	h.changed()
}

// unasked takes in that an acquire failed. With h.mu.
func (h *hold) unasked(err error) {
	var network *net.OpError
	switch {
	case errors.As(err, &network) && network.Op == "dial":
		// Nothing was sent: while no other copy was, there is nothing to release.
		h.trace = h.part.copies > 1
	case lua.FailureOf(err) == lua.Unknown:
		h.unanswered = true
		inTime := time.Since(h.base) < nodeWait(h.core.set.ttl)/2
		if h.state == waiting && !isTimeout(err) && inTime && h.part.copies < tryAttempts {
			h.sendAcquire() // the connection broke; the same id again is right in any case
			return
		}
	}
	h.failure = h.named(err)
}

// named makes of what a part came to an error of the whole. The end of a limit of
// our own must not look like that of the caller's context, nor the end of a part
// like that of the lease.
func (h *hold) named(err error) error {
	var known *serverError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		err = errNoAnswer
	case errors.Is(err, ErrLost), errors.Is(err, ErrReleased):
		err = errNotThere
	}
	return &serverError{number: slices.Index(h.core.nodes, h.client) + 1, err: err}
}

// waits tells whether the release of a part waits for the answer to its acquire,
// which may come before it or after it else. It need not leave a tombstone then.
func (p *part) waits(h *hold) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return p.asking
}

// may tells whether a part whose acquire was not answered may still be found to
// have it: until one TTL after.
func (p *part) may(now time.Time, h *hold) bool { return now.Sub(h.base) < h.core.set.ttl }

// changed tells the whole that a part of it did. Without h.mu.
func (h *hold) changed() {
	if h.part != nil {
		h.part.whole.recount()
	}
}

// timedOut tells whether a part is over by the clock. With h.mu.
func (h *hold) timedOut() bool {
	return h.state == over && errors.Is(h.err, ErrLost) && h.lostAs() == ""
}

// lostAs is how a server said that a part is over; "" if it did not. With h.mu.
func (h *hold) lostAs() LostReason {
	var lost *LostError
	if errors.As(h.err, &lost) && (lost.Reason == LostTaken || lost.Reason == LostRemoved) {
		return lost.Reason
	}
	return ""
}

// recount makes of the whole what its parts come to. Without h.mu.
func (h *hold) recount() {
	h.mu.Lock()
	c := h.count()
	until := c.deadline(h.core)
	switch h.state {
	case waiting:
		if h.win(&c) || c.decided(h.core) {
			h.rouse()
		}
	case held:
		var why *LostError
		switch {
		case !time.Now().Before(h.deadline): // who looked meanwhile was told, and that stays so
			why = h.timeoutReason()
		case until.IsZero():
			why = h.goneReason(lua.Released{Taken: h.anyTaken()})
		}
		if why != nil {
			h.endAndRelease(why)
			return
		}
		h.keep(until) // if that has passed, the next Tick ends it
	case over:
		h.rouse()
	}
	h.mu.Unlock()
}

// win makes a waiting whole a held one if a majority gave it. It tells whether
// that has ever happened. With h.mu.
func (h *hold) win(c *count) bool {
	now := time.Now()
	if until := c.deadline(h.core); h.state == waiting && now.Before(until) {
		h.state, h.acquired = held, now
		h.keep(until)
	}
	return h.state != waiting
}

// keep sets the deadline of a whole that is held, and what its parts have in
// common. With h.mu.
func (h *hold) keep(until time.Time) {
	if h.told && until.After(h.deadline) {
		h.tell(Event{Type: EventRenewed, Held: time.Since(h.acquired)})
	}
	h.deadline = until
	h.client.dog.Schedule(&h.entry, until)
	for _, n := range h.parts {
		n.mu.Lock()
		n.acquired = h.acquired // what WithMaxHold and WithMinHold count from
		if n.state == waiting && n.unanswered && !n.part.asking && !n.answered {
			// It may have the lock. To ask by "poll" takes nothing.
			n.answered = true
			n.client.dog.Schedule(&n.entry, time.Now().Add(h.core.set.ttl/12))
		}
		n.mu.Unlock()
	}
}

// anyTaken tells whether a server says that somebody else has it now. With h.mu.
func (h *hold) anyTaken() bool {
	return slices.ContainsFunc(h.parts, func(n *hold) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.lostAs() == LostTaken
	})
}

// leaveParts gives back what each part has or may have. With h.mu.
func (h *hold) leaveParts() {
	h.client.dog.Cancel(&h.entry)
	for _, n := range h.parts {
		n.mu.Lock()
		n.leased = h.leased
		n.mu.Unlock()
		n.leave()
	}
}
