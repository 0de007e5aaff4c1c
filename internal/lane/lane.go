// Package lane queues the goroutines of one process that want the same lock: in
// their own order, behind one place in Redis. The one at the front talks to Redis;
// the others cost it nothing. Whoever holds the lock can give it to the front.
package lane

import "sync"

// Table is the lanes of a client, by key. An H holds the lock, or has the place in
// Redis; a G is what the front is given. The zero value is ready. Safe for
// concurrent use.
type Table[K, H comparable, G any] struct {
	mu    sync.Mutex
	lanes map[K]*Lane[K, H, G]
}

// Lane is there while somebody waits in it, or something stands for it.
type Lane[K, H comparable, G any] struct {
	table       *Table[K, H, G]
	key         K
	first, last *Ticket[K, H, G]
	news        any // see Tell

	// The zero H if there is none.
	holder  H    // see Served
	place   H    // in Redis's queue, for whoever is at the front
	settled bool // Redis has said that the place is there
}

// Ticket is a goroutine's place in a lane.
type Ticket[K, H comparable, G any] struct {
	lane       *Lane[K, H, G]
	prev, next *Ticket[K, H, G]
	gone       bool          // no longer in the lane
	wake       chan struct{} // tells its goroutine to look; nil: it has not slept yet
	roused     bool          // there was something to tell
	asleep     bool          // its goroutine listens to wake
	gift       G
	given      bool
}

// Enter joins the lane of key, and tells whether that is at its front. The ticket
// ends by a gift, by Served, or else must be given up with Leave.
func (t *Table[K, H, G]) Enter(key K) (ticket *Ticket[K, H, G], front bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lane(key)
	k := &Ticket[K, H, G]{lane: l, prev: l.last}
	l.last = k
	if k.prev == nil {
		l.first = k
		return k, true
	}
	k.prev.next = k
	k.wake, k.asleep = make(chan struct{}, 1), true
	return k, false
}

// lane is the one of key, made if there is none. With t.mu.
func (t *Table[K, H, G]) lane(key K) *Lane[K, H, G] {
	l := t.lanes[key]
	if l == nil {
		if t.lanes == nil {
			t.lanes = map[K]*Lane[K, H, G]{}
		}
		l = &Lane[K, H, G]{table: t, key: key}
		t.lanes[key] = l
	}
	return l
}

// Alone is a ticket of a lane of its own, at its front.
func (t *Table[K, H, G]) Alone() *Ticket[K, H, G] {
	l := &Lane[K, H, G]{table: t}
	k := &Ticket[K, H, G]{lane: l}
	l.first, l.last = k, k
	return k
}

// Give gives what give makes to the front of the lane of key, which leaves it so.
// It does not if nobody is there; if its goroutine is busy, with Redis; and not to
// the last one whose place in Redis is not settled: that would be left there for
// nobody. give is called with the table locked.
func (t *Table[K, H, G]) Give(key K, give func() G) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[key]
	if l == nil || l.first == nil || !l.first.asleep {
		return false
	}
	var none H
	k := l.first
	if k.next == nil && l.place != none && !l.settled {
		return false
	}
	k.gift, k.given = give(), true
	k.remove()
	k.signal()
	return true
}

// Freed forgets a holder. If nobody waits in its lane, nobody wants the place that
// the lane has in Redis, which is returned.
func (t *Table[K, H, G]) Freed(key K, holder H) (unwanted H) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var none H
	l := t.lanes[key]
	if l == nil || l.holder != none && l.holder != holder {
		return none
	}
	l.holder = none
	return l.tidy()
}

// Lane is the one that the ticket is of.
func (k *Ticket[K, H, G]) Lane() *Lane[K, H, G] { return k.lane }

// Sleep returns what tells the ticket's goroutine to look again: something was
// given to it, or it is at the front and has a reason to look. From now on it can
// be given something.
func (k *Ticket[K, H, G]) Sleep() <-chan struct{} {
	t := k.lane.table
	t.mu.Lock()
	defer t.mu.Unlock()
	k.asleep = true
	if k.wake == nil {
		k.wake = make(chan struct{}, 1)
		if k.roused {
			k.signal()
		}
	}
	return k.wake
}

// Stir ends Sleep: nothing is given to a ticket whose goroutine is busy. It tells
// whether something was given before.
func (k *Ticket[K, H, G]) Stir() (given bool) {
	t := k.lane.table
	t.mu.Lock()
	defer t.mu.Unlock()
	k.asleep = false
	return k.given
}

// Gift is what the ticket was given, if it was.
func (k *Ticket[K, H, G]) Gift() (gift G, given bool) {
	t := k.lane.table
	t.mu.Lock()
	defer t.mu.Unlock()
	return k.gift, k.given
}

// Given tells whether the ticket was given something.
func (k *Ticket[K, H, G]) Given() bool {
	_, given := k.Gift()
	return given
}

// Front tells whether the ticket is at the front.
func (k *Ticket[K, H, G]) Front() bool {
	t := k.lane.table
	t.mu.Lock()
	defer t.mu.Unlock()
	return k.lane.first == k
}

// Leave gives the ticket up, if it is still in the lane. The next one comes to the
// front. If there is none, nobody wants the place that the lane has in Redis, which
// is returned.
func (k *Ticket[K, H, G]) Leave() (unwanted H) {
	l := k.lane
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if k.gone {
		return unwanted
	}
	first := l.first == k
	k.remove()
	if first && l.first != nil {
		l.first.signal() // what became of the place may have been told to k alone
	}
	return l.tidy()
}

// Served leaves as Leave does, since the lock was got from Redis: holder has it,
// and whatever place it had is no more.
func (k *Ticket[K, H, G]) Served(holder H) {
	l := k.lane
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	var none H
	l.holder = holder
	if l.place == holder {
		l.takePlace(none)
	}
	if !k.gone {
		k.remove()
	}
}

// Hold notes that holder holds the lock, got without a ticket.
func (t *Table[K, H, G]) Hold(key K, holder H) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lane(key).holder = holder
}

// Holder is who holds the lock, got by somebody of the lane of key or without a ticket.
func (t *Table[K, H, G]) Holder(key K) (holder H) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[key]; l != nil {
		holder = l.holder
	}
	return holder
}

// Holder is who holds the lock, got by somebody of this lane.
func (l *Lane[K, H, G]) Holder() H {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	return l.holder
}

// Place is what has a place in Redis for the lane.
func (l *Lane[K, H, G]) Place() H {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	return l.place
}

// Take makes place the one that the lane has in Redis.
func (l *Lane[K, H, G]) Take(place H) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	l.takePlace(place)
}

func (l *Lane[K, H, G]) takePlace(place H) { l.place, l.settled = place, false }

// Settle notes that Redis knows the place.
func (l *Lane[K, H, G]) Settle(place H) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.place == place {
		l.settled = true
	}
}

// Unsettle notes that something became of the place that its front has to see.
func (l *Lane[K, H, G]) Unsettle(place H) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.place == place {
		l.settled = false
	}
}

// Rouse tells the front to look at what became of place, and whether somebody is
// there who would: nobody, if the lane has another place by now. A lane where nobody
// waits has it no more.
func (l *Lane[K, H, G]) Rouse(place H) bool {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.first == nil {
		l.drop(place)
		return false
	}
	l.first.signal()
	return l.stands(place)
}

// Deserted tells whether nobody waits in the lane. It then does not have that place
// any more.
func (l *Lane[K, H, G]) Deserted(place H) bool {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	l.drop(place)
	return l.first == nil
}

// stands tells whether the lane has no other place than that one. With the table's lock.
func (l *Lane[K, H, G]) stands(place H) bool {
	var none H
	return l.place == place || l.place == none
}

// drop tidies a lane for a place that its caller ends. One that was given up before
// must not take another with it, which nobody would end. With the table's lock.
func (l *Lane[K, H, G]) drop(place H) {
	if l.stands(place) {
		l.tidy()
	}
}

// Tell leaves what the front has learned for those behind it.
func (k *Ticket[K, H, G]) Tell(news any) {
	k.lane.table.mu.Lock()
	defer k.lane.table.mu.Unlock()
	k.lane.news = news
}

// News is what the front told last; nil if it told nothing.
func (k *Ticket[K, H, G]) News() any {
	k.lane.table.mu.Lock()
	defer k.lane.table.mu.Unlock()
	return k.lane.news
}

// signal has the ticket's goroutine look. With the table's lock.
func (k *Ticket[K, H, G]) signal() {
	k.roused = true
	select {
	case k.wake <- struct{}{}:
	default: // told before, and not looked yet; or it never slept
	}
}

// remove takes the ticket out of its lane. If the next one comes to the front and
// finds no place, or one that somebody has to see to, it is told. With the table's lock.
func (k *Ticket[K, H, G]) remove() {
	l := k.lane
	var none H
	k.gone = true
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.last = k.prev
	}
	if k.prev != nil {
		k.prev.next = k.next
	} else if l.first = k.next; l.first != nil && (l.place == none || !l.settled) {
		l.first.signal()
	}
	k.prev, k.next = nil, nil
}

// tidy takes the place away from a lane where nobody waits, and the lane out of the
// table if nobody holds either. With the table's lock.
func (l *Lane[K, H, G]) tidy() (unwanted H) {
	var none H
	if l.first != nil {
		return none
	}
	unwanted = l.place
	l.news = nil
	l.takePlace(none)
	if l.holder == none && l.table.lanes[l.key] == l { // else it was alone
		delete(l.table.lanes, l.key)
	}
	return unwanted
}
