package history

import (
	"fmt"
	"time"
)

// Loss is that Redis lost what it had. A fencing token is the server's time at
// which its hold was granted, so the tokens say which holds were granted before.
type Loss struct {
	Lock  string        // of which; "": of all
	Since time.Duration // not before
	At    time.Duration // it was over
	Token int64         // Redis's time then, in µs: what was granted before has a lower token
}

// concerns tells whether the hold is one of those that were lost.
func (l Loss) concerns(o Op) bool { return (l.Lock == "" || l.Lock == o.Lock) && o.Token < l.Token }

// life is what a lock goes through between two losses.
type life struct {
	lock   string
	number int
}

func lifeOf(o Op, losses []Loss) life {
	l := life{lock: o.Lock}
	for _, loss := range losses {
		if !loss.concerns(o) {
			l.number++ // those of other locks are the same for all holds of this one
		}
	}
	return l
}

// remains looks for what cannot be of a hold that was lost.
func remains(ops []Op, losses []Loss) []Violation {
	var found []Violation
	for _, o := range ops {
		for _, loss := range losses {
			switch {
			case !loss.concerns(o):
			case o.Asked > loss.At: // 0 if nobody asked Redis for it
				found = append(found, Violation{Lock: o.Lock, At: o.From, Text: fmt.Sprintf("asked for after a loss of data, with a token from before, which was %d: %v", loss.Token, o)})
			case o.TTL > 0 && o.lasted() && o.To > loss.At+o.TTL:
				found = append(found, Violation{Lock: o.Lock, At: o.To, Text: fmt.Sprintf("held for %v after a loss of data, with a TTL of %v: %v", o.To-loss.At, o.TTL, o)})
			}
		}
	}
	return found
}

// Span is a time in which a fault may have kept requests from Redis, or answers
// from a process.
type Span struct {
	Process  string // which; "": any
	From, To time.Duration
}

// Place is that an acquisition was seen in the queue of a lock.
type Place struct {
	Lock, ID string
	At       time.Duration // it was seen before
}

// faults is what else a Recorder collects.
type faults struct {
	losses []Loss
	spans  []Span
	places map[Place]time.Duration // first seen; the keys have no time
}

// Lose records a loss of data.
func (r *Recorder) Lose(l Loss) {
	what := "everything"
	if l.Lock != "" {
		what = l.Lock
	}
	r.Note(l.At, "Redis", fmt.Sprintf("without %s that had a token below %d", what, l.Token))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.losses = append(r.losses, l)
}

// Disturb records that a fault was at work.
func (r *Recorder) Disturb(s Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, s)
}

// Saw records that an acquisition had a place in the queue.
func (r *Recorder) Saw(p Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := p.At
	p.At = 0
	if r.places == nil {
		r.places = make(map[Place]time.Duration)
	}
	if _, before := r.places[p]; !before {
		r.places[p] = at
	}
}

// Losses are those so far.
func (r *Recorder) Losses() []Loss {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Loss(nil), r.losses...)
}

// queued are the places and the spans so far.
func (r *Recorder) queued() (places []Place, spans []Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, at := range r.places {
		p.At = at
		places = append(places, p)
	}
	return places, append([]Span(nil), r.spans...)
}
