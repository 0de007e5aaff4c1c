// Package owner carries the owner of reentrant locks in a context. It is apart
// from the locks because two packages must agree on the key: reentrant, where a
// program names an owner, and holdfast, whose leases carry theirs.
package owner

import "context"

// Key is under which a context has its owner, a string.
type Key struct{}

// With returns a context with that owner. A nil context stays nil: the first
// call that is given it says so.
func With(ctx context.Context, owner string) context.Context {
	if ctx == nil {
		return nil
	}
	return context.WithValue(ctx, Key{}, owner)
}

// From is the innermost owner that the context carries.
func From(ctx context.Context) (string, bool) {
	owner, ok := ctx.Value(Key{}).(string)
	return owner, ok
}
