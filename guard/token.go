package guard

import (
	"context"
	"fmt"

	"github.com/holdfast-go/holdfast"
)

// Token is the fencing token of the innermost lease that ctx came from, by
// holdfast.Lease.Context or the Do of a lock. It does no I/O.
//
// A ctx without a lease, and a lease without a token, as one of redlock, give an
// error that Is holdfast.ErrInvalid. A lease that is over gives its Err, which Is
// holdfast.ErrLost or holdfast.ErrReleased: take the token of such a lease from the
// lease itself, if it must be.
func Token(ctx context.Context) (int64, error) {
	lease, ok := holdfast.FromContext(ctx)
	if !ok {
		return 0, invalid("Token: the context came from no lease")
	}
	if err := lease.Err(); err != nil {
		return 0, fmt.Errorf("guard: Token: %w", err)
	}
	if lease.Token() == 0 {
		return 0, invalid("Token: the lease of %q has none, as all of redlock", lease.Name())
	}
	return lease.Token(), nil
}
