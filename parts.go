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
}

// outcome is what became of the release of a part.
type outcome int

const (
	unconfirmed outcome = iota
	freed
	notOurs
	givenUp // refused for good
)

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

// count takes stock of the parts. With h.mu.
func (h *hold) count() count {
	var c count
	for _, n := range h.parts {
		n.mu.Lock()
		switch {
		case n.state == held || n.timedOut():
			c.until = append(c.until, n.deadline) // a time that has passed, if it is over
		case n.part.refused:
			c.refused = append(c.refused, n.part.answer)
		case n.failure != nil:
			c.failed++
			if lua.FailureOf(n.failure) == lua.Lasting {
				c.lasting++
			}
			c.failure = also(c.failure, n.failure)
		case n.state == waiting:
			c.silent++
		}
		n.mu.Unlock()
	}
	slices.SortFunc(c.until, func(a, b time.Time) int { return b.Compare(a) })
	return c
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

// deadline is until when a majority keeps the lock: the time at which the server
// that completes it may let it go. Zero: there is none.
func (c *count) deadline(k *Core) time.Time {
	if len(c.until) < k.majority() {
		return time.Time{}
	}
	return c.until[k.majority()-1]
}

// recount makes of the whole what its parts come to. Without h.mu.
func (h *hold) recount() {
	h.mu.Lock()
	c := h.count()
	now := time.Now()
	until := c.deadline(h.core)
	switch h.state {
	case waiting:
		if h.win(&c) || c.decided(h.core) {
			h.tell()
		}
	case held:
		var why *LostError
		switch {
		case !now.Before(h.deadline): // who looked meanwhile was told, and that stays so
			why = h.timeoutReason()
		case until.IsZero():
			why = h.goneReason(lua.Released{Taken: h.anyTaken()})
		case !now.Before(until):
			why = h.timeoutReason()
		}
		if why != nil {
			h.endAndRelease(why)
			return
		}
		h.keep(until)
	case over:
		h.tell()
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

// silenceOfParts is why so few parts could be renewed; nil if enough could. With h.mu.
func (h *hold) silenceOfParts() error {
	var failure error
	well := 0
	for _, n := range h.parts {
		n.mu.Lock()
		if !n.deadline.IsZero() && n.lostAs() == "" {
			if silence := n.silence(); silence == nil {
				well++
			} else {
				failure = also(failure, n.named(silence))
			}
		}
		n.mu.Unlock()
	}
	if well >= h.core.majority() {
		return nil
	}
	return failure
}

// renewParts is Lease.Renew: a majority must say in this call that the lock is
// still there.
func (h *hold) renewParts(ctx context.Context) error {
	now := time.Now()
	h.mu.Lock()
	limit := min(h.core.set.ttl/6, h.deadline.Sub(now))
	h.mu.Unlock()
	answers := make(chan error, len(h.parts))
	for _, n := range h.parts {
		n.client.dog.Send(watchdog.Send{
			Call:  n.renewCall(),
			Limit: limit,
			Done: func(call *lua.Call) {
				err := n.renewedNow(call, now)
				n.changed()
				answers <- err
			},
		})
	}
	failure := h.awaitRenewals(ctx, limit, answers)
	if err := h.check(); err != nil {
		return err
	}
	return failure
}

// renewedNow takes in the answer of a renewal by the caller.
func (h *hold) renewedNow(call *lua.Call, sent time.Time) error {
	h.mu.Lock()
	never := h.state == waiting
	h.mu.Unlock()
	if never {
		return h.named(errNoAnswer) // only its poll can tell since when it has the lock
	}
	if err := h.extend(call, sent); err != nil {
		return h.named(err)
	}
	return nil
}

// reportPart logs, once, that a server let a part go, or could not be reached to
// renew it, while the lease goes on.
func (h *hold) reportPart() {
	h.mu.Lock()
	first, err := !h.reported, h.err
	h.reported = true
	h.mu.Unlock()
	if first && errors.Is(err, ErrLost) {
		h.client.reports.Warn("holdfast: a server lost its part of a lease",
			"name", h.core.name, "id", h.id, "error", h.named(err))
	}
}

// awaitRenewals returns nil once a majority has renewed.
func (h *hold) awaitRenewals(ctx context.Context, limit time.Duration, answers <-chan error) error {
	over := time.NewTimer(limit)
	defer over.Stop()
	var failure error
	k := h.core
	for renewed, missed := 0, 0; missed <= len(k.nodes)-k.majority(); {
		select {
		case err := <-answers:
			if err == nil {
				renewed++
			} else {
				missed++
				failure = also(failure, err)
			}
		case <-over.C:
			return also(failure, errUnanswered)
		case <-ctx.Done():
			return also(failure, errUnanswered)
		}
		if renewed == k.majority() {
			return nil
		}
	}
	return failure
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

// releaseParts is Lease.Release, up to the answer.
func (h *hold) releaseParts() error {
	h.startRelease()
	over := time.NewTimer(releaseWait)
	defer over.Stop()
	for timeout := false; ; {
		if decided, err := h.judgeRelease(timeout); decided {
			return err
		}
		select {
		case <-h.ready:
		case <-over.C:
			timeout = true
		}
	}
}

// concluded takes in the answer to the release of a part. Its whole hears of it.
func (h *hold) concluded(r lua.Released, err error) {
	if h.part == nil {
		return
	}
	h.mu.Lock()
	switch {
	case err != nil:
		h.failure = h.named(err)
		if lua.FailureOf(err) == lua.Lasting {
			h.part.outcome = givenUp
		}
		h.doubt = h.doubt || lua.FailureOf(err) == lua.Unknown
	case h.judge(r, h.doubt) == nil:
		h.part.outcome = freed
	default:
		h.part.outcome, h.part.taken = notOurs, r.Taken
	}
	h.mu.Unlock()
	h.changed()
}

// judgeRelease says what Release returns, if that is known or must be: nil once
// a majority has given the lock back; that the lease was lost once so many say
// that it was not ours that the rest is none.
func (h *hold) judgeRelease(must bool) (decided bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.core
	var by [givenUp + 1]int
	var failure error
	taken := false
	for _, n := range h.parts {
		n.mu.Lock()
		o := n.part.outcome
		if o == unconfirmed && (!n.trace || n.lostAs() != "") {
			o = notOurs
		}
		by[o]++
		taken = taken || n.part.taken || n.lostAs() == LostTaken
		if o == unconfirmed || o == givenUp {
			failure = also(failure, n.failure)
		}
		n.mu.Unlock()
	}
	switch {
	case by[freed] >= k.majority():
		return true, nil
	case by[notOurs] > len(k.nodes)-k.majority():
		return true, h.goneReason(lua.Released{Taken: taken})
	case by[unconfirmed] > 0 && !must:
		return false, nil
	case failure == nil:
		failure = errNoAnswer
	}
	return true, fmt.Errorf("holdfast: release of %q: unknown: confirmed by %d of %d servers: %w",
		k.name, by[freed], len(k.nodes), failure)
}
