package holdfast

import (
	"context"
	"errors"
	"fmt"
)

// Do locks, calls fn once with the lease's context, and releases, also when fn
// panics or calls runtime.Goexit.
func (k *Core) Do(ctx context.Context, fn func(context.Context) error) (err error) {
	if fn == nil {
		return invalid("Do: the function is nil")
	}
	lease, err := k.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// On a panic or Goexit nothing is returned; the release still happens.
		err = k.conclude(lease, lease.Release(ctx), err)
	}()
	return fn(lease.Context(ctx))
}

// conclude is what Do returns: the loss, if the lease was lost before its
// release was confirmed, else what fn returned. A release without an answer is
// logged: the work was done under the lock, and the lock frees itself.
func (k *Core) conclude(lease *Lease, released, worked error) error {
	var lost *LostError
	if errors.Is(released, ErrReleased) {
		released = lease.t.found() // fn released early
	}
	switch {
	case errors.As(released, &lost):
		e := *lost
		e.Err = both(lost.Err, worked)
		return &e
	case released != nil && !errors.Is(released, ErrReleased):
		k.client.warn("release not answered", keyKind, k.kind.Name, keyName, k.name, keyID, lease.ID(), keyError, released)
	}
	return worked
}

func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w: %w", a, b)
}
