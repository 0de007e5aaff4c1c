package holdfast

import (
	"errors"
	"fmt"
	"time"
)

// What went wrong, for errors.Is. Every error of this package that is not Redis's
// own, a context's or a [ReplicasError] is one of these.
var (
	// ErrNotAcquired: the lock was not had in time. Somebody else holds it; or, of a
	// wait, Redis did not answer, and the error wraps that, too. It is a [HeldError].
	ErrNotAcquired = errors.New("holdfast: not acquired")
	// ErrLost: the lease ended without being released. The error is a [LostError].
	ErrLost = errors.New("holdfast: lease lost")
	// ErrReleased: the lease was released, by Release, Do or Downgrade, by the client's
	// Close, or because nothing referred to it. Of ForceRelease: nothing is held under
	// that ID.
	ErrReleased = errors.New("holdfast: lease released")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("holdfast: client closed")
	// ErrInvalid: a name, an option or a call makes no sense. The text names the
	// value. Nothing was sent to Redis.
	ErrInvalid = errors.New("holdfast: invalid")
)

// HeldError says who stands in the way of a lock that was not acquired. It Is
// [ErrNotAcquired]. What it tells was true when Redis last answered; if it never
// did, there is only the name.
type HeldError struct {
	Name      string        // of the lock
	Holder    string        // who holds it, see WithHolder; of several, the one whose lease ends first; "" if another library does, or if only the queue is in the way
	Remaining time.Duration // of that holder's lease, unless it is renewed or released before; 0 if it has no end or only the queue is in the way
	Foreign   bool          // another library holds it
	Waiters   int           // places in the queue: of a mutex or reentrant lock, one for the goroutines of a process
}

func (e *HeldError) Error() string {
	text := fmt.Sprintf("holdfast: %q not acquired", e.Name)
	left := e.Remaining.Round(time.Millisecond)
	switch {
	case e.Holder != "" && e.Remaining > 0:
		text += fmt.Sprintf(": held by %s, whose lease has %v left", e.Holder, left)
	case e.Holder != "":
		text += ": held by " + e.Holder
	case e.Foreign && e.Remaining > 0:
		text += fmt.Sprintf(": held by another library's client, whose lease has %v left", left)
	case e.Foreign:
		text += ": held by another library's client, without an end"
	}
	if e.Waiters > 0 {
		text += fmt.Sprintf(", %d waiting", e.Waiters)
	}
	return text
}

// Is makes errors.Is(err, ErrNotAcquired) true.
func (e *HeldError) Is(target error) bool { return target == ErrNotAcquired }

// ReplicasError says that a lock was acquired at the master but not at as many
// replicas as WithReplicas asks for, and was given back; or, as the Err of a
// LostError or in the error of Renew, that a renewal was not.
type ReplicasError struct {
	Name                 string // of the lock
	Wanted, Acknowledged int
}

func (e *ReplicasError) Error() string {
	return fmt.Sprintf("holdfast: %q: %d of %d replicas have it", e.Name, e.Acknowledged, e.Wanted)
}

// LostReason says why a lease was lost.
type LostReason string

// The reasons. With all of them the lock may be somebody else's by now.
const (
	LostExpired     LostReason = "expired"     // its time ran out: it was not renewed, or the process slept
	LostUnreachable LostReason = "unreachable" // its time ran out while Redis did not answer; Err has the last failure
	LostTaken       LostReason = "taken"       // Redis says that somebody else holds it
	LostRemoved     LostReason = "removed"     // Redis has no such lock any more: deleted, flushed, evicted or forgotten
)

// LostError says which lease was lost and why. It Is [ErrLost] and wraps Err.
type LostError struct {
	Name, ID string
	Reason   LostReason
	Err      error // what else is known: the last failed renewal, or from Do what fn returned; may be nil
}

func (e *LostError) Error() string {
	text := fmt.Sprintf("holdfast: lease of %q lost: %s", e.Name, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes errors.Is(err, ErrLost) true.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Unwrap returns Err.
func (e *LostError) Unwrap() error { return e.Err }

// invalid makes an error that Is ErrInvalid and names what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
