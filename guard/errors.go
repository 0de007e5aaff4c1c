package guard

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/holdfast-go/holdfast"
)

// ErrStale means that a guard refused a token because it had let a higher one
// pass: the lock has had another holder since. Nothing was written. The error is
// a [StaleError].
var ErrStale = errors.New("guard: stale token")

// StaleError says which token was refused, and what it was below. It Is [ErrStale].
type StaleError struct {
	Resource string // the fence or the row; "" from Refusal
	Token    int64  // what was offered
	Highest  int64  // what the guard had let pass; 0 if that is not known
}

func (e *StaleError) Error() string {
	of := ""
	if e.Resource != "" {
		of = " of " + e.Resource
	}
	above := "the highest"
	if e.Highest > 0 {
		above = strconv.FormatInt(e.Highest, 10)
	}
	return fmt.Sprintf("guard: stale token%s: %d is below %s", of, e.Token, above)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// maxToken is the largest whole number below which Lua, whose numbers are floats,
// tells all whole numbers apart. Server time in µs comes to it in the year 2255.
const maxToken = 1<<53 - 1

// ready tells whether a call makes sense and may still be sent. A context of a
// lease ends with it, so a lease that is known to be lost costs no round trip.
func ready(ctx context.Context, what string, token int64) error {
	switch {
	case ctx == nil:
		return invalid("%s: the context is nil", what)
	case token == 0:
		return invalid("%s: token 0 means that there is none; a redlock lease has none", what)
	case token < 0 || token > maxToken:
		return invalid("%s: token %d is not within 1 and 2^53-1", what, token)
	}
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("guard: %s: nothing sent: %w: %w", what, err, cause)
	}
	return fmt.Errorf("guard: %s: nothing sent: %w", what, err)
}

// invalid makes an error that Is holdfast.ErrInvalid and names what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: guard: "+format, append([]any{holdfast.ErrInvalid}, args...)...)
}
