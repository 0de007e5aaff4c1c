package lua

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// Status is where an acquisition stands after an acquire or a poll.
type Status int

// What an acquire script answers.
const (
	Gone  Status = iota // it has no place, or lost it
	Yours               // it holds the lock
	Busy                // somebody else holds it, or waits before it
)

// Acquired is the decoded answer of an acquire script.
type Acquired struct {
	Status Status
	// Token is the fencing token of the hold (Yours), or the last one that was
	// given to anybody (Busy).
	Token int64

	// The rest is for Busy alone.
	Remaining time.Duration // of the holder's lease; 0 if nobody holds the lock or its lease has no end
	Endless   bool          // the holder's lease has no end: another library's key without TTL
	Free      bool          // there is room: only the queue is in the way
	Ahead     int           // places in the queue before this one
	Places    int           // places in the queue
	Foreign   bool          // the holder is no Holdfast client: it will wake nobody
	Holder    string        // who holds it, for people
	More      bool          // the queue has more dead places than one script may skip: pump
	Muted     bool          // Redis refused to publish a wake-up
}

// Released is the decoded answer of a release, drop, renew or pump script.
type Released struct {
	Held  bool // it was held under that id
	Taken bool // it was not: somebody else holds it
	More  bool
	Muted bool
}

// errReply is an answer that no script of this version gives: somebody else
// answers, or a reply was cut. It lasts.
var errReply = errors.New("holdfast: unexpected answer of a script")

const (
	flagMore  = 4
	flagMuted = 8
)

// Acquired decodes the answer of an acquire script.
func (c *Call) Acquired() (Acquired, error) {
	reply, err := c.Result()
	if err != nil {
		return Acquired{}, err
	}
	switch v := reply.(type) {
	case int64:
		if v == 0 {
			return Acquired{Status: Gone}, nil
		}
		if v > 0 {
			return Acquired{Status: Yours, Token: v}, nil
		}
	case []any:
		return decodeBusy(v)
	}
	return Acquired{}, unexpected(c, reply)
}

// decodeBusy reads {last token, ms left, ahead, places, flags, ours, holder}.
func decodeBusy(v []any) (Acquired, error) {
	if len(v) != 7 {
		return Acquired{}, fmt.Errorf("%w: %d values, not 7", errReply, len(v))
	}
	n, ok := numbers(v[:6])
	if !ok {
		return Acquired{}, fmt.Errorf("%w: not 6 numbers: %.64q", errReply, fmt.Sprint(v))
	}
	a := Acquired{
		Status: Busy, Token: n[0],
		Endless: n[1] == -1, Free: n[1] == -2,
		Ahead: int(n[2]), Places: int(n[3]),
		More: n[4]&flagMore != 0, Muted: n[4]&flagMuted != 0,
	}
	if n[1] > 0 {
		a.Remaining = time.Duration(n[1]) * time.Millisecond
	}
	holder, ok := v[6].(string)
	if !ok {
		return Acquired{}, fmt.Errorf("%w: %T as value 7", errReply, v[6])
	}
	a.Holder = holder
	a.Foreign = !a.Free && n[5] == 0
	return a, nil
}

// Released decodes the answer of a release, drop, renew or pump script.
func (c *Call) Released() (Released, error) {
	reply, err := c.Result()
	if err != nil {
		return Released{}, err
	}
	v, ok := reply.(int64)
	state := v & 3
	if !ok || v < 0 || v > 15 || state == 3 {
		return Released{}, unexpected(c, reply)
	}
	return Released{Held: state == 1, Taken: state == 2, More: v&flagMore != 0, Muted: v&flagMuted != 0}, nil
}

// Inspection is the decoded answer of an inspect script.
type Inspection struct {
	Token            int64 // the last one known
	Used             int64 // weight of all holds
	Holders, Waiters int   // how many there are, listed or not
	Holding          []Holding
	Waiting          []Waiting
}

// Holding is a hold of an Inspection.
type Holding struct {
	Text      string        // "<id> <request>", or another library's
	Remaining time.Duration // 0: it has no end
	Token     int64         // 0: another library's, or a weighted hold that was released but is kept
	Weight    int64
}

// Waiting is a place of an Inspection.
type Waiting struct {
	Text    string // "<id> <request>"
	Waiting time.Duration
	Alive   bool
}

// Inspected decodes the answer of an inspect script.
func (c *Call) Inspected() (Inspection, error) {
	reply, err := c.Result()
	if err != nil {
		return Inspection{}, err
	}
	v, ok := reply.([]any)
	if !ok || len(v) != 6 {
		return Inspection{}, unexpected(c, reply)
	}
	var in Inspection
	n, sums := numbers(v[:4])
	holders, some := v[4].([]any)
	waiters, more := v[5].([]any)
	if !sums || !some || !more {
		return Inspection{}, unexpected(c, reply)
	}
	in.Token, in.Used, in.Holders, in.Waiters = n[0], n[1], int(n[2]), int(n[3])
	for _, row := range holders {
		text, n, ok := textAndNumbers(row, 3)
		if !ok {
			return Inspection{}, unexpected(c, row)
		}
		h := Holding{Text: text, Remaining: time.Duration(max(0, n[0])) * time.Millisecond, Token: n[1], Weight: n[2]}
		in.Holding = append(in.Holding, h)
	}
	for _, row := range waiters {
		text, n, ok := textAndNumbers(row, 2)
		if !ok {
			return Inspection{}, unexpected(c, row)
		}
		w := Waiting{Text: text, Waiting: time.Duration(n[0]) * time.Microsecond, Alive: n[1] > 0}
		in.Waiting = append(in.Waiting, w)
	}
	return in, nil
}

// textAndNumbers reads a row of a text and so many numbers.
func textAndNumbers(row any, count int) (string, []int64, bool) {
	v, ok := row.([]any)
	if !ok || len(v) != 1+count {
		return "", nil, false
	}
	text, ok := v[0].(string)
	n, all := numbers(v[1:])
	return text, n, ok && all
}

func numbers(v []any) ([]int64, bool) {
	n := make([]int64, len(v))
	for i := range v {
		x, ok := v[i].(int64)
		if !ok {
			return nil, false
		}
		n[i] = x
	}
	return n, true
}

func unexpected(c *Call, reply any) error {
	return fmt.Errorf("%w: %s said %.64q", errReply, c.script.name, fmt.Sprint(reply))
}

// WakeUp tells one waiter that it was granted, or to look again, or a holder that
// its hold was taken away.
type WakeUp struct {
	ID    string // the acquisition that it is for
	Token int64  // the token of its grant; 0: nothing is granted, poll again; negative: of the hold that was taken away
	More  bool   // more may be granted: pump
}

// WakeUps reads the wake-ups of one message, a line each. What is not of their
// form is passed over.
func WakeUps(message string) iter.Seq[WakeUp] {
	return func(yield func(WakeUp) bool) {
		for line := range strings.SplitSeq(message, "\n") {
			if w, ok := ParseWakeUp(line); ok && !yield(w) {
				return
			}
		}
	}
}

// ParseWakeUp reads "<id> <token> <more>". What is not of that form is refused:
// anybody may publish on a channel.
func ParseWakeUp(text string) (WakeUp, bool) {
	parts := strings.Split(text, " ")
	if len(parts) != 3 || parts[0] == "" {
		return WakeUp{}, false
	}
	token, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || token == math.MinInt64 || parts[2] != "0" && parts[2] != "1" {
		return WakeUp{}, false
	}
	return WakeUp{ID: parts[0], Token: token, More: parts[2] == "1"}, true
}
