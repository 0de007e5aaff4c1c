package holdfast

import "time"

// Times of the protocol that are not the user's to choose. docs/design.md says
// why they are what they are.
const (
	firstInterval = 500 * time.Millisecond // between polls, by default
	minInterval   = 5 * time.Millisecond
	minLiveness   = 100 * time.Millisecond // a pause of the garbage collector must not cost a place
	foreignPoll   = 250 * time.Millisecond // at most, while nobody will wake the next in line
	expirySlack   = 2 * time.Millisecond   // polled this long after a lease's end: Redis rounds

	releaseWait  = 2 * time.Second       // how long Release waits
	attemptWait  = releaseWait / 4       // of it, for one send: another connection may answer
	releaseRetry = 5 * time.Millisecond  // between its first and second send; doubles
	firstRetry   = 10 * time.Millisecond // between first acquires that failed; doubles
	lastRetry    = time.Second           // up to here
	pollFloor    = 50 * time.Millisecond // how long a poll may take at least
	tombstone    = 60 * time.Second      // beyond the TTL
	tryAttempts  = 3                     // of TryLock, when connections break
	grace        = 5 * time.Millisecond  // for the servers that a failed try does not depend on

	listenAfter       = 250 * time.Millisecond // a lease held for this long makes its client listen
	resubscribeSpread = 100 * time.Millisecond
)

// margin is how much earlier than Redis a lease ends for its holder: the two
// clocks may run at slightly different rates.
func margin(ttl time.Duration) time.Duration { return ttl/100 + 2*time.Millisecond }

// pace is how often one waiter polls.
type pace struct {
	backOff BackOff
	last    time.Duration
	ceiling time.Duration
}

// newPace starts a wait. The first interval is the same for all waits of one
// lock handle, since the first acquire says for how long its place counts as
// alive before anybody knows whether it will wait.
func (k *Core) newPace() pace {
	return pace{ceiling: k.set.ttl / 3, last: k.interval}
}

// next is the time until the next poll.
func (p *pace) next(begin *func() BackOff) time.Duration {
	if p.backOff == nil {
		p.backOff = (*begin)()
	}
	d := p.ceiling
	if p.backOff != nil { // a function that makes none polls at the ceiling
		d = p.backOff.NextBackOff()
	}
	if d >= 0 { // else it stopped, as v4 does after 15 minutes unless told otherwise: keep the last
		p.last = clamp(d, p.ceiling)
	}
	return p.last
}

func clamp(d, ceiling time.Duration) time.Duration { return min(max(d, minInterval), ceiling) }

// liveness is how long a waiter counts as alive that polls at this interval: it
// may miss two polls.
func liveness(interval time.Duration) time.Duration { return max(3*interval, minLiveness) }
