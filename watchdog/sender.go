package watchdog

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

const (
	// senders is how many pipelines may be under way at once. More than a few are
	// only where several nodes of a cluster hang.
	senders = 32
	// perNode is how many of them may be to one node: one that hangs on a dead
	// connection must not keep the others from being sent.
	perNode = 4
	// batch is the most calls in one pipeline: Redis answers it whole before it
	// turns to other clients.
	batch = 512
)

// sender sends calls in pipelines, each to one node, from goroutines that end when
// nothing is left that they may send.
//
// A node that hangs holds a goroutine until its calls are given up. So that this
// costs nobody else, half of the goroutines are kept for nodes that answered last
// time and have nothing under way: see [sender.may].
type sender struct {
	ctx  context.Context //nolint:containedctx // the life of the client, for calls that nobody waits for
	send Sender
	node func(*lua.Call) string // who a call goes to, without I/O

	mu      sync.Mutex
	lines   map[string]*line // of nodes for which a call waits or is under way, and of silent ones
	busy    int              // pipelines under way
	running int              // goroutines
	quiet   chan struct{}    // closed once nothing runs; nil: nobody asked
}

// line is what waits for one node.
type line struct {
	node    string
	waiting []queued
	first   queued // of those that wait
	under   int    // pipelines under way
	silent  bool   // the last one that ended got no answer
}

// queued is a call that waits. Who goes first is told by when it would have to be
// given up had it been sent at once, so that urgent calls, however many, keep none
// back for longer than its own limit.
type queued struct {
	Send
	by time.Time
}

func (s *sender) add(sends []Send) {
	if len(sends) == 0 {
		return
	}
	nodes := make([]string, len(sends))
	for i, x := range sends {
		nodes[i] = s.node(x.Call)
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range sends {
		s.line(nodes[i]).put(queued{x, now.Add(x.Limit)})
	}
	s.start()
}

func (s *sender) line(node string) *line {
	l := s.lines[node]
	if l == nil {
		l = &line{node: node}
		s.lines[node] = l
	}
	return l
}

func (l *line) put(x queued) {
	if len(l.waiting) == 0 || x.by.Before(l.first.by) {
		l.first = x
	}
	l.waiting = append(l.waiting, x)
}

// start adds a goroutine if there is work for one. With s.mu.
func (s *sender) start() {
	if s.running < senders && s.choose() != nil {
		s.running++
		go s.run()
	}
}

// idle is closed once nothing waits and nothing is under way.
func (s *sender) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet == nil {
		s.quiet = make(chan struct{})
	}
	quiet := s.quiet
	if s.running == 0 {
		close(quiet)
		s.quiet = nil
	}
	return quiet
}

func (s *sender) run() {
	for {
		l, sends := s.next()
		if sends == nil {
			return
		}
		s.flush(l, sends)
	}
}

// next takes the most urgent calls of a node. What may not be sent yet waits for
// a pipeline that is under way: its goroutine comes here when it ends.
func (s *sender) next() (*line, []Send) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.choose()
	if l == nil {
		s.running--
		if s.running == 0 && s.quiet != nil {
			close(s.quiet)
			s.quiet = nil
		}
		return nil, nil
	}
	sends := l.take()
	l.under++
	s.busy++
	s.start() // for what is left
	return l, sends
}

// choose finds the node to send to: first one that has nothing under way and is
// not silent, then the most urgent. Nil: there is none, for now. With s.mu.
func (s *sender) choose() *line {
	var best *line
	for _, l := range s.lines {
		if s.may(l) && (best == nil || l.before(best)) {
			best = l
		}
	}
	return best
}

// may tells whether a pipeline to that node may begin. With s.mu.
func (s *sender) may(l *line) bool {
	if len(l.waiting) == 0 || l.under >= perNode {
		return false
	}
	return l.trouble() == 0 || s.busy < senders/2
}

// trouble is a guess at how little a pipeline to that node would be answered.
func (l *line) trouble() int {
	if l.silent {
		return l.under + 1
	}
	return l.under
}

func (l *line) before(other *line) bool {
	if l.trouble() != other.trouble() {
		return l.trouble() < other.trouble()
	}
	return l.first.by.Before(other.first.by)
}

// take takes the most urgent call and those that may take about as long. A call
// that may take a millisecond must not share its limit with one that may take
// seconds: the whole pipeline would be given up that early.
func (l *line) take() []Send {
	least := l.first.Limit
	for _, x := range l.waiting {
		if 2*x.Limit >= l.first.Limit {
			least = min(least, x.Limit)
		}
	}
	waiting := l.waiting
	l.waiting = nil
	var taken []Send
	for _, x := range waiting {
		about := least <= x.Limit && x.Limit <= max(least, 2*least) // a limit that is over may be negative
		if about && len(taken) < batch {
			taken = append(taken, x.Send)
		} else {
			l.put(x)
		}
	}
	return taken
}

func (s *sender) flush(l *line, sends []Send) {
	limit := time.Duration(1<<63 - 1)
	calls := make([]*lua.Call, len(sends))
	for i, x := range sends {
		calls[i] = x.Call
		limit = min(limit, x.Limit)
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	s.send(ctx, calls)
	cancel()
	s.ended(l, calls)
	for _, x := range sends {
		x.Done(x.Call)
	}
}

// ended takes in that a pipeline is over.
func (s *sender) ended(l *line, calls []*lua.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.under--
	s.busy--
	l.silent = true
	for _, c := range calls {
		if err := c.Err(); err == nil || lua.FailureOf(err) != lua.Unknown {
			l.silent = false
			break
		}
	}
	if !l.silent && l.under == 0 && len(l.waiting) == 0 {
		delete(s.lines, l.node)
	}
}
