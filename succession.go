package holdfast

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/lane"
)

// A mutex whose Lease is released passes to the goroutine of the same process that
// waits first, without a word to Redis: the hold stays, its tenure changes. That
// is for as long as nobody elsewhere waits; else a process passes it on for so many
// tenures and so long, and then lets Redis decide, which serves the queue in its
// order. The lane has its place there all the time.
const (
	turnTenures = 16
	turnTime    = 10 * time.Millisecond
	// tokenBlock is how many tokens are reserved for a hold that is passed on: see
	// lua/joined.lua. In µs it is no more than the shortest TTL.
	tokenBlock = 10_000
)

// Who waits, as far as a hold has heard.
const (
	unknown int32 = iota
	nobodyElse
	others
)

// errGiven: the hold of another goroutine of this process was passed on to this one.
var errGiven = errors.New("holdfast: given inside the process")

// laneKey tells which goroutines wait in one lane: those who want the same lock,
// for the same owner, and on the same terms, so that what one of them has in Redis
// serves any of them.
type laneKey struct {
	lock, owner, request string
	maxHold              time.Duration
	backOff              *func() BackOff
}

type (
	ticketLane = lane.Lane[laneKey, *hold, *tenure]
	ticket     = lane.Ticket[laneKey, *hold, *tenure]
)

// succession is what decides whether a hold is passed on. With h.mu, but for what
// is atomic.
type succession struct {
	since    time.Time // of the first tenure
	tenures  int64     // the last one of this turn
	until    time.Time // the end of this turn
	others   atomic.Int32
	reserved atomic.Bool // tokens are reserved
}

// begin starts a hold, and its turn: others may wait, for all that is known.
func (s *succession) begin(now time.Time) {
	s.since, s.tenures, s.until = now, turnTenures-1, now.Add(turnTime)
}

// limit ends the turn in good time: somebody elsewhere waits.
func (h *hold) limit(now time.Time) {
	if h.succession.others.Swap(others) == nobodyElse {
		h.succession.tenures, h.succession.until = h.turn+turnTenures, now.Add(turnTime)
	}
}

// hears takes in how many places there are beside the one of this lane. Without h.mu.
func (h *hold) hears(rivals int) {
	if rivals > 0 {
		h.succession.others.Store(others)
		return
	}
	h.succession.others.CompareAndSwap(unknown, nobodyElse) // who came meanwhile has said so
}

// mayPass tells whether the hold may go to another goroutine of this process. Its
// lease goes on, so enough of it must be left. The token of each tenure is one
// above that of the one before; it may not be ahead of the server's clock, from
// which the next grant takes its token if Redis forgets the last one. With h.mu.
func (h *hold) mayPass(now time.Time) bool {
	s := &h.succession
	next := h.turn + 1
	switch {
	case !h.core.local || h.state != held || h.deadline.Sub(now) < h.core.set.ttl/2:
		return false
	case next > tokenBlock || now.Sub(s.since) < time.Duration(next)*time.Microsecond:
		return false
	case s.others.Load() == nobodyElse && h.client.isTold() && h.core.set.prefix != "":
		return true // with the key of other libraries, nobody knows who waits
	}
	return next <= s.tenures && now.Before(s.until)
}

// pass gives the hold to the goroutine of this process that waits first. With h.mu,
// after the tenure has ended.
func (h *hold) pass(now time.Time) bool {
	given := h.client.lanes.Give(h.core.laneKey, func() *tenure {
		h.tenure = &tenure{hold: h, turn: h.turn + 1, acquired: now, handed: true}
		return h.tenure
	})
	if given && h.core.set.maxHold > 0 && !h.renewing {
		h.scheduleRenewal(h.since()) // its renewals may have been over
	}
	return given
}

// isTold tells whether the client would hear that somebody waits elsewhere.
func (c *Client) isTold() bool { return c.inbox.Live() && !c.mute.Load() }

// lastToken is the highest that a tenure has had; 0 if Redis knows it. With h.mu.
func (h *hold) lastToken() int64 {
	if h.turn == 0 && !h.succession.reserved.Load() {
		return 0
	}
	return h.token + h.turn
}

// enter queues in the process, behind one place in Redis. Those of one owner
// queue among themselves: whoever of them comes to hold the lock lets the others
// in, and must not have to wait for one that stands before them. Where several
// may hold the lock, each takes a place in Redis.
func (k *Core) enter(owner string) (t *ticket, front bool) {
	if k.kind.Shared {
		return k.client.lanes.Alone(), true
	}
	key := k.laneKey
	key.owner = owner + k.group
	return k.client.lanes.Enter(key)
}

// leaveLane gives a ticket up if it is still in its lane, and the lane's place in
// Redis with the last one.
func (k *Core) leaveLane(t *ticket) {
	if unwanted := t.Leave(); unwanted != nil {
		unwanted.leave()
	}
	if tenure, given := t.Gift(); given {
		tenure.giveUp() // it came when the wait was over
	}
}

// stand waits behind others of this process until the ticket is at the front of
// its lane: nil; or was given a hold: errGiven; or the wait or the client ends.
func (k *Core) stand(wait context.Context, t *ticket) error {
	for wake := t.Sleep(); ; {
		var end error
		select {
		case <-wake:
		case <-wait.Done():
			end = wait.Err()
		case <-k.client.closing: // of another client the front hears, and leaves
			end = ErrClosed
		}
		if end == nil && !t.Front() && !t.Given() {
			continue
		}
		if t.Stir() {
			return errGiven
		}
		return end
	}
}

// place is what stands for the lane in Redis's queue: what others left, or an
// acquisition that takes one.
func (k *Core) place(t *ticket, owner string, i *inquiry) *hold {
	l := t.Lane()
	if k.local {
		if h := l.Place(); h != nil && h.adopt(i) {
			return h
		}
	}
	h := k.register(owner, i)
	if h.parts == nil {
		h.mu.Lock()
		h.lane = l
		h.mu.Unlock()
	}
	if k.local {
		l.Take(h)
		if holder := l.Holder(); holder != nil {
			// Who came while the lane had no place was told nothing of.
			holder.succession.others.CompareAndSwap(nobodyElse, unknown)
		}
	}
	return h
}

// adopt lets another call wait for what this acquisition waits for.
func (h *hold) adopt(i *inquiry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == over {
		return false
	}
	h.inquiry = i
	return true
}

// inherit makes a Lease of the hold that a ticket was given.
func (k *Core) inherit(ctx, wait context.Context, t *ticket, i *inquiry) (*Lease, error) {
	tenure, _ := t.Gift()
	switch {
	case k.closed():
		tenure.giveUp()
		return nil, fmt.Errorf("holdfast: %q: %w", k.name, ErrClosed)
	case wait.Err() != nil:
		tenure.giveUp()
		return nil, k.stopped(ctx, t, nil)
	}
	tenure.hold.mu.Lock()
	tenure.inquiry = i
	tenure.hold.mu.Unlock()
	if tenure.check() != nil {
		return nil, errTooLate
	}
	return newLease(tenure), nil
}
