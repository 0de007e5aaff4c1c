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
	releaseRetry = 5 * time.Millisecond  // between its first and second send; doubles
	retryMin     = 10 * time.Millisecond // between first acquires that failed; doubles
	retryMax     = time.Second           // up to here
	pollLimit    = 3 * time.Second       // how long a poll may take at most
	pollMinLimit = 50 * time.Millisecond // and at least
	tombstone    = 60 * time.Second      // beyond the TTL
	tryAttempts  = 3                     // of TryLock, when connections break

	resubscribeSpread = 100 * time.Millisecond
)

// margin is how much earlier than Redis a lease ends for its holder: the two
// clocks may run at slightly different rates.
func margin(ttl time.Duration) time.Duration { return ttl/100 + 2*time.Millisecond }

// pace is how often one waiter polls.
type pace struct {
	make    func() BackOff
	backOff BackOff
	last    time.Duration
	ceiling time.Duration
}

func (k *Core) newPace() *pace {
	return &pace{make: k.set.backOff, ceiling: k.set.ttl / 3}
}

// next is the time until the next poll.
func (p *pace) next() time.Duration {
	if p.backOff == nil {
		p.backOff = p.make()
	}
	d := p.last
	if p.backOff != nil { // a function that makes none polls at the ceiling
		d = p.backOff.NextBackOff()
	}
	if d < 0 { // stopped: v4 does after 15 minutes unless told otherwise
		d = p.last
	}
	if d == 0 && p.last == 0 && p.backOff == nil {
		d = p.ceiling
	}
	p.last = min(max(d, minInterval), p.ceiling)
	return p.last
}

// first is how long a new place counts as alive.
func (p *pace) first() time.Duration { return p.liveness(p.next()) }

// liveness is how long a waiter counts as alive that polls at this interval: it
// may miss two polls.
func (p *pace) liveness(interval time.Duration) time.Duration {
	return max(3*interval, minLiveness)
}
