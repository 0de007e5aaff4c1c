//go:build linux

package torture_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
)

const (
	never = math.MaxInt64

	// mostGhosts are as many calls without a known end as are searched for when
	// they may have been done. Each doubles the time.
	mostGhosts = 14

	// shortestLease is for how long a grant that nobody hears of lasts at least.
	shortestLease = 90 * time.Millisecond

	searchTime = 20 * time.Second // of one history, twice at most
)

// done is a call with what came of it.
type done struct {
	step
	process string
	call    time.Duration
	ret     time.Duration // never: its process died, or it is under way
}

type callID struct {
	process string
	number  int
}

// book collects the calls of all processes.
type book struct {
	mu    sync.Mutex
	calls map[callID]done
}

func (b *book) take(process string, r processtest.Report) error {
	if r.Event != eventCalled && r.Event != eventReturned {
		return fmt.Errorf("%s: %s", r.Event, r.Error)
	}
	var s step
	if err := r.Read(&s); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls = make(map[callID]done)
	}
	id := callID{process, s.Number}
	switch r.Event {
	case eventCalled:
		s.Outcome = outcomeUnknown
		b.calls[id] = done{step: s, process: process, call: s.At, ret: never}
	case eventReturned:
		d := b.calls[id]
		if d.Kind != s.Kind {
			return fmt.Errorf("%v returns %q, but called %q", id, s.Kind, d.Kind)
		}
		d.step, d.ret = s, s.At
		b.calls[id] = d
	}
	return nil
}

// pages are the calls by the name of their lock, in order.
func (b *book) pages() map[string][]done {
	b.mu.Lock()
	defer b.mu.Unlock()
	pages := make(map[string][]done)
	for _, d := range b.calls {
		pages[d.Lock] = append(pages[d.Lock], d)
	}
	for _, page := range pages {
		slices.SortFunc(page, func(a, b done) int { return cmp.Compare(a.call, b.call) })
	}
	return pages
}

// What a mutex can be asked for: the inputs of the model.
type (
	acquired struct{ token, first int64 } // Lock or TryLock, with success
	refused  struct{}                     // TryLock: somebody holds it
	ghost    struct{}                     // an acquire of which nobody knows: done at any time from then on, or never
	fleeting struct{}                     // granted to an acquire that did not hear of it before it ended, and began anew
	ended    struct{ token int64 }        // released, or its lease ran out
	lost     struct{ token int64 }        // Redis lost its data, and no grant before had a higher one
	closed   struct{}                     // the history is over; what has not happened never does
)

// operations writes the calls of one mutex for porcupine.
//
// A hold ends between the call of its release and its return if that confirmed
// it. Else it ends at any time after the earlier of that call and its deadline,
// but before the next hold, by its token, was known. Without ghosts, an acquire
// of which nobody knows was never done, and one that was done was granted once.
func operations(page []done, losses []history.Loss, ghosts bool) []porcupine.Operation {
	var ops []porcupine.Operation
	add := func(client int, what any, from, to time.Duration, about any) {
		ops = append(ops, porcupine.Operation{
			ClientId: client, Input: what, Call: int64(from), Return: int64(max(from+1, to)), Metadata: about,
		})
	}
	clients := make(map[string]int) // as porcupine numbers them
	number := func(process string, client int) int {
		key := fmt.Sprintf("%s/%d", process, client)
		if _, ok := clients[key]; !ok {
			clients[key] = len(clients)
		}
		return clients[key]
	}
	var holds []done
	releases := make(map[int64]done) // by token
	var last time.Duration
	for _, d := range page {
		client := number(d.process, d.Client)
		last = max(last, d.call)
		if d.ret != never {
			last = max(last, d.ret)
		}
		switch {
		case d.Kind == kindRelease:
			releases[d.Token] = d
		case d.Outcome == outcomeOK:
			holds = append(holds, d)
			add(client, acquired{d.Token, d.First}, d.call, d.ret, d)
		case d.Outcome == outcomeBusy:
			add(client, refused{}, d.call, d.ret, d)
		case d.Outcome == outcomeUnknown && ghosts:
			// A line of its own: its client goes on while it is under way.
			add(number(fmt.Sprintf("%s#%d", d.process, d.Number), d.Client), ghost{}, d.call, never, d)
		}
	}
	slices.SortFunc(holds, func(a, b done) int { return cmp.Compare(a.Token, b.Token) })
	for i, h := range holds {
		client := number(h.process, h.Client)
		next := time.Duration(never)
		if i+1 < len(holds) {
			next = holds[i+1].ret
		}
		r, called := releases[h.Token]
		switch {
		case called && r.Outcome == outcomeOK:
			add(client, ended{h.Token}, r.call, r.ret, r)
		case called:
			add(client, ended{h.Token}, min(r.call, r.Until), next, r)
		default:
			add(client, ended{h.Token}, h.Until, next, h)
		}
	}
	for i, h := range holds {
		if until := unheard(h, losses); ghosts && until > h.call {
			add(number(fmt.Sprint("fleeting ", i), 0), fleeting{}, h.call, until, h)
		}
	}
	for _, l := range losses {
		if l.Lock == "" && l.At > time.Duration(0) {
			add(number("Redis", 0), lost{l.Token}, l.Since, l.At, l)
			last = max(last, l.At)
		}
	}
	for _, o := range ops {
		if o.Return != never {
			last = max(last, time.Duration(o.Return))
		}
		last = max(last, time.Duration(o.Call))
	}
	add(number("end", 0), closed{}, last+1, last+2, nil)
	return ops
}

// unheard is until when an acquire may have been granted without hearing of it, and
// then began anew: the grant ended with its lease, or with the data of Redis. 0: it
// cannot have been.
func unheard(d done, losses []history.Loss) (until time.Duration) {
	if d.Outcome != outcomeOK || d.Kind == kindRelease {
		return 0
	}
	if d.ret-d.call > shortestLease {
		return d.ret - 1
	}
	for _, l := range losses {
		if l.Lock == "" && d.call < l.Since && l.Since < d.ret {
			until = max(until, l.Since-1)
		}
	}
	return until
}

// standing is the state of the model.
type standing struct {
	held   int64 // the token; 0: nobody's
	maybe  bool  // or a ghost's
	last   int64 // token given
	before int64 // the last one that may have been given before a loss of data
	over   bool
}

var model = porcupine.Model{
	Init: func() any { return standing{} },
	Step: func(state, input, _ any) (bool, any) {
		s, ok := state.(standing)
		if !ok {
			return false, state
		}
		if s.over {
			return true, s
		}
		switch in := input.(type) {
		case acquired:
			if in.first > 0 && in.first <= s.before {
				// Passed on in a process that has not heard yet that its hold was lost.
				return true, s
			}
			return s.held == 0 && in.token > s.last, standing{held: in.token, last: in.token, before: s.before}
		case refused:
			return s.held != 0 || s.maybe, s
		case ghost:
			// It may end at any time: whoever comes next finds the mutex free, or not.
			may := s.held == 0 && !s.maybe
			s.maybe = true
			return may, s
		case fleeting:
			s.maybe = s.maybe || s.held == 0 // until the next hold, or the loss
			return true, s
		case ended:
			if in.token <= s.before && s.held != in.token {
				return true, s // what was lost with the data needs no end
			}
			may := s.held == in.token
			s.held = 0
			return may, s
		case lost:
			return true, standing{last: s.last, before: max(s.last, in.token)}
		case closed:
			s.over = true
			return true, s
		}
		return false, s
	},
	DescribeOperation: func(input, _ any) string {
		switch in := input.(type) {
		case acquired:
			return fmt.Sprintf("acquired %d", in.token)
		case refused:
			return "busy"
		case ghost:
			return "unknown"
		case fleeting:
			return "granted unheard, perhaps"
		case ended:
			return fmt.Sprintf("end of %d", in.token)
		case lost:
			return "data lost"
		}
		return "the end"
	},
	DescribeState: func(state any) string {
		switch s, _ := state.(standing); {
		case s.over:
			return "over"
		case s.held != 0:
			return fmt.Sprintf("held by %d", s.held)
		case s.maybe:
			return "free, or a ghost's"
		}
		return "free"
	},
	DescribeOperationMetadata: func(info any) string { return fmt.Sprintf("%+v", info) },
}

// verdict is what the search for an order found.
type verdict struct {
	calls, ghosts int
	passed        int  // acquired inside the process
	left          bool // there was not enough time, or there were too many ghosts
	info          porcupine.LinearizationInfo
}

var errNoOrder = errors.New("no order of these calls is one that a mutex allows")

// search looks for an order of the calls of one mutex. It begins without ghosts:
// an order that needs none is one with them, too.
func search(page []done, losses []history.Loss) (verdict, error) {
	v, anew := verdict{calls: len(page)}, false
	for _, d := range page {
		if d.Kind != kindRelease && d.Outcome == outcomeUnknown {
			v.ghosts++
		}
		if d.First > 0 {
			v.passed++
		}
		anew = anew || unheard(d, losses) > 0
	}
	result, info := porcupine.CheckOperationsVerbose(model, operations(page, losses, false), searchTime)
	if result == porcupine.Illegal && (v.ghosts > 0 || anew) {
		if v.ghosts > mostGhosts { // each of them explains any refusal after it
			page, v.left = withoutRefusals(page), true
		}
		result, info = porcupine.CheckOperationsVerbose(model, operations(page, losses, !v.left), searchTime)
	}
	v.info = info
	v.left = v.left || result == porcupine.Unknown
	if result == porcupine.Illegal {
		return v, errNoOrder
	}
	return v, nil
}

func withoutRefusals(page []done) []done {
	return slices.DeleteFunc(slices.Clone(page), func(d done) bool { return d.Outcome == outcomeBusy })
}

// draw writes the page of porcupine for a history.
func (v verdict) draw(path string) error { return porcupine.VisualizePath(model, v.info, path) }
