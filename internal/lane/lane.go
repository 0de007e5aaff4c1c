// Package lane queues the goroutines of one process that want the same lock:
// in their own order, behind one place in Redis. The one at the front talks to
// Redis; the others cost it nothing.
package lane

import (
	"container/list"
	"sync"
)

// Key tells lanes apart: those who lock for an owner have one of their own.
type Key struct{ Lock, Owner string }

// Table is the lanes of a client. The zero value is ready. Safe for concurrent
// use.
type Table struct {
	mu    sync.Mutex
	lanes map[Key]*lane
}

// lane is there while somebody is at its front.
type lane struct {
	waiting list.List // of *Ticket
	news    any       // see Tell
}

// Ticket is a goroutine's place in a lane.
type Ticket struct {
	table *Table
	key   Key
	lane  *lane
	ready chan struct{} // closed when the front is reached; nil: from the start
	where *list.Element // nil: at the front
}

// Enter joins the lane of key. The ticket must be given up with Leave.
func (t *Table) Enter(key Key) *Ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[key]
	ticket := &Ticket{table: t, key: key, lane: l}
	if l == nil {
		if t.lanes == nil {
			t.lanes = map[Key]*lane{}
		}
		ticket.lane = &lane{}
		t.lanes[key] = ticket.lane
		return ticket
	}
	ticket.ready = make(chan struct{})
	ticket.where = l.waiting.PushBack(ticket)
	return ticket
}

// Alone is a ticket of a lane of its own, at its front.
func (t *Table) Alone() *Ticket { return &Ticket{table: t, lane: &lane{}} }

// Front is closed once the ticket is at the front; nil if it was at once.
func (k *Ticket) Front() <-chan struct{} { return k.ready }

// Leave gives the place up. From the front, the next one moves there.
func (k *Ticket) Leave() {
	t := k.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.where != nil {
		k.lane.waiting.Remove(k.where)
		k.where = nil
		return
	}
	first := k.lane.waiting.Front()
	if first == nil {
		if t.lanes[k.key] == k.lane { // else it was alone
			delete(t.lanes, k.key)
		}
		return
	}
	next := k.lane.waiting.Remove(first).(*Ticket) //nolint:forcetypeassert,errcheck // the list holds nothing else
	next.where = nil
	close(next.ready)
}

// Tell leaves what the front has learned for those behind it.
func (k *Ticket) Tell(news any) {
	k.table.mu.Lock()
	defer k.table.mu.Unlock()
	k.lane.news = news
}

// News is what the front told last; nil if it told nothing.
func (k *Ticket) News() any {
	k.table.mu.Lock()
	defer k.table.mu.Unlock()
	return k.lane.news
}
