package holdfast

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// Modes of the acquire script, boxed once.
var (
	modeLock any = "lock"
	modeTry  any = "try"
	modePoll any = "poll"
	modeNext any = "next" // lock, of a neighbour of the holder
)

var (
	// errPlaceLost: the queue no longer knows this acquisition; another one
	// must enqueue.
	errPlaceLost = errors.New("holdfast: place in the queue lost")
	errTooLate   = errors.New("holdfast: the answer of Redis came after the lease that it gave")
	errForced    = errors.New("holdfast: by ForceRelease")
)

// state of a hold: waiting, then held, then over; or waiting, then over.
type state int

const (
	waiting state = iota
	held
	over
)

// hold is one acquisition, from before its first send until Redis confirmed
// that nothing is left of it. It is what the client's table, the watchdog and
// the wake-ups know; the user has a Lease, which points here, so that a Lease
// that nobody refers to any more can be noticed.
//
// h.mu is taken before the locks of Watchdog and Client, never after them.
type hold struct {
	client *Client
	core   *Core
	number uint64
	id     string
	owner  string         // of a kind that has one
	entry  watchdog.Entry // polls while waiting, renews while held, repeats the release when over

	request any         // what a grant must know of it, see requestFor; never changes
	heavier any         // the request before its downgrade; none: there was none
	lane    *ticketLane // where those wait whom it may be for; nil: TryLock, or of a majority

	// Of a lock on a majority, see quorum.go: the Lease points to a hold that has
	// a part on each server, each a hold of its own in the table of that client.
	parts []*hold // nil: it is on one server
	part  *part   // nil: it is no part

	mu    sync.Mutex
	state state
	ready chan struct{} // of a lock on a majority: tells its goroutine that something changed

	// While waiting.
	base       time.Time // a grant that is only heard of counts from here: first send, or send of the last poll answered "not yet"
	seen       int64     // highest token in a "not yet": a wake-up must be above it
	void       int64     // token of a grant that was taken away before it was heard of
	trace      bool      // something of it may be in Redis
	answered   bool      // an acquire of this id was answered
	unanswered bool      // a first acquire was not: a late copy of it may be under way
	again      bool      // poll as soon as the call under way is answered
	background bool      // its first acquire is the watchdog's to send
	polling    bool      // a call of the watchdog is under way
	unwanted   bool      // something became of it, and nobody waits: see unlock
	ousted     *hold     // whom its grant proves lost: see unlock
	stopped    error     // why waiting makes no sense any more
	hopeless   bool      // of a lock on a majority: a majority refuses for good
	failure    error     // the last failure of Redis
	news       news
	interval   time.Duration // until the poll after the next one

	// While held.
	*tenure               // of who has it
	first      tenure     // before it was passed on inside the process
	token      int64      // of the first
	deadline   time.Time  // held at least until then
	renewing   bool       // a renewal of the watchdog is under way
	deaf       bool       // its client does not listen yet
	succession succession // whether it may be passed on

	// When over.
	ending    error // why
	leaving   bool  // a release is under way, by its caller or the watchdog
	neighbour *hold // has a place in Redis for nobody: it leaves with this one
	doubt     bool  // one was not answered: it may have been done
	retries   int
}

// ask sends the first acquire, or sends it again, and takes the answer in.
func (h *hold) ask(ctx context.Context, mode any) (lua.Acquired, error) {
	now := time.Now()
	alive := h.core.liveness
	h.mu.Lock()
	if h.interval != h.core.interval { // after a failure: its next poll will come later
		alive = liveness(h.interval).Milliseconds()
	}
	call := h.acquireCall(mode, alive)
	if h.base.IsZero() {
		h.base = now
	}
	h.mu.Unlock()
	_ = call.Do(ctx, h.client.rdb) // the error is in the call
	a, err := call.Acquired()
	if a.Muted {
		h.client.muted()
	}

	h.mu.Lock()
	defer h.unlock()
	if err != nil {
		// What Redis said is kept, rather than that the caller's time ran out.
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) &&
			(endOf(ctx) == nil || h.failure == nil) {
			h.failure = err
		}
		if lua.FailureOf(err) == lua.Unknown {
			h.unanswered, h.trace = true, true
		}
		return a, err
	}
	h.answered, h.failure = true, nil
	h.trace = h.trace || mode == modeLock || a.Status == lua.Yours
	if h.state == waiting && a.Status == lua.Yours && !h.own(a.Token, now) {
		return a, errTooLate
	}
	if h.state == waiting && a.Status == lua.Busy && mode == modeLock {
		h.notYet(a, now, h.interval)
	}
	return a, nil
}

// own makes a waiting hold a held one, unless its lease, counted from base, is
// over already, or was taken away. With h.mu.
func (h *hold) own(token int64, base time.Time) bool {
	now := time.Now()
	deadline := base.Add(h.core.lasting())
	if !now.Before(deadline) || token <= h.void {
		return false
	}
	h.state, h.token, h.acquired, h.deadline = held, token, now, deadline
	h.failure = nil
	h.succession.begin(now)
	if h.core.local { // also of a try, which has no place in the lane
		h.ousted = h.client.lanes.Holder(h.core.laneKey)
	}
	h.deaf = !h.client.inbox.Started()
	h.scheduleRenewal(base)
	h.rouse()
	return true
}

// rouse wakes the goroutine that waits for this hold. With h.mu.
func (h *hold) rouse() {
	if h.lane != nil {
		if h.core.local && (h.state != waiting || h.stopped != nil) {
			h.lane.Unsettle(h) // whoever is at the front next has to see it, too
		}
		h.unwanted = !h.lane.Rouse(h) && h.state != over && !h.leased
		return
	}
	select {
	case h.ready <- struct{}{}:
	default: // told before, and not looked yet; or it is for nobody
	}
}

// unlock gives h.mu free, and the hold back if nobody waits for it any more. If it
// was granted while another of this process counted as held, that one is lost.
func (h *hold) unlock() {
	unwanted, ousted := h.unwanted, h.ousted
	h.unwanted, h.ousted = false, nil
	h.mu.Unlock()
	if ousted != nil {
		ousted.oust()
	}
	if unwanted {
		h.leave()
	}
}

// woken takes in one wake-up. It runs on the inbox's goroutine.
func (h *hold) woken(w lua.WakeUp) {
	if w.Token < 0 {
		h.evicted(-w.Token)
		return
	}
	h.mu.Lock()
	defer h.unlock()
	switch h.state {
	case waiting:
		switch {
		case w.Token == 0:
			h.pollNow(0)
		case w.Token <= h.seen:
			// A grant from before the last "not yet": it ran out on its way.
		case h.own(w.Token, h.base):
			h.handed = true
		default:
			h.pollNow(0) // too old to be believed: ask
		}
	case held:
		// A poll was answered "yours" before the wake-up came; or somebody of
		// another process waits now.
		if w.Token == 0 {
			h.limit(time.Now())
		}
	case over:
		// Granted to one who left: its leave is on its way; unless it is, send
		// it now rather than after its pause.
		h.client.dog.Schedule(&h.entry, time.Now())
	}
}

// evicted takes in that the hold of that token was taken away.
func (h *hold) evicted(token int64) {
	h.mu.Lock()
	switch {
	case h.state == held && h.token == token && h.part != nil:
		h.mu.Unlock()
		h.part.whole.evictedWhole()
		h.evictedPart(token)
		return
	case h.state == held && h.token == token:
		h.endAndRelease(h.forced())
		return
	case h.state == waiting:
		// Its grant may yet be heard of, by a wake-up or an answer, and is void.
		h.seen, h.void = max(h.seen, token), max(h.void, token)
		h.pollNow(0)
	}
	h.mu.Unlock()
}

// oust takes in that Redis has given the lock to somebody else.
func (h *hold) oust() {
	h.mu.Lock()
	if h.state != held {
		h.mu.Unlock()
		return
	}
	h.endAndRelease(h.goneReason(lua.Released{Taken: true}))
}

func (h *hold) forced() *LostError {
	return &LostError{Name: h.core.name, ID: h.tenure.id(), Reason: LostTaken, Err: errForced}
}

// pollSoon polls after d if the hold is waiting.
func (h *hold) pollSoon(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == waiting {
		h.pollNow(d)
	}
}

// renewSoon renews after d, if that may be, and so finds out whether it is held.
func (h *hold) renewSoon(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if due := time.Now().Add(d); h.state == held && h.renewable(due) && due.Before(h.deadline) {
		h.deaf = false // else it would only begin to listen
		h.client.dog.Schedule(&h.entry, due)
	}
}

// pollNow polls after d, or after the call under way: a poll that overtook the
// first acquire would find no place. With h.mu.
func (h *hold) pollNow(d time.Duration) {
	if !h.answered || h.polling {
		h.again = true
		return
	}
	h.client.dog.Schedule(&h.entry, time.Now().Add(d))
}

// ifHeld runs f, with h.mu, unless the hold has ended.
func (h *hold) ifHeld(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == held {
		f()
	}
}

// holding tells whether the lock is held as far as the clock says.
func (h *hold) holding() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == held
}

// fail takes in a failure of a background call. What Redis said is kept, rather than
// that a later try had no time left. With h.mu.
func (h *hold) fail(err error) {
	if h.failure == nil || !isTimeout(err) {
		h.failure = err
	}
}

// failed is the last failure of Redis, if nothing was answered after it. A nil hold
// is a place that nobody has.
func (h *hold) failed() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failure
}

// Tick does what is due: a poll, a renewal, the end of the lease, a release
// again. It runs on the watchdog's goroutine, which does no I/O.
func (h *hold) Tick(now time.Time) (watchdog.Send, bool) {
	h.mu.Lock()
	switch h.state {
	case waiting:
		defer h.unlock()
		if h.core.local && h.answered && h.lane != nil && h.lane.Deserted(h) {
			h.unwanted = true // it was kept for those who might have come
			return watchdog.Send{}, false
		}
		return h.poll(now)
	case held:
		if now.Before(h.deadline) {
			defer h.mu.Unlock()
			if h.deaf {
				h.listen()
				return watchdog.Send{}, false
			}
			return h.renew(now)
		}
		why := h.timeoutReason()
		finish := h.finish(why)
		h.tellEnd(why)
		h.mu.Unlock()
		finish()
		h.changed()
		h.mu.Lock()
	case over:
	}
	defer h.mu.Unlock()
	return h.releaseAgain()
}
