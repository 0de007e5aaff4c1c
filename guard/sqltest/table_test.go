package sqltest

import (
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/guard"
)

// token is as leases have them.
const token = int64(1_790_000_000_123_457)

func TestUpdate(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		ctx := t.Context()
		paid := guard.Set{"balance": 90, "state": "paid"}
		for range 2 { // the second changes nothing, and passes
			if err := b.accounts.Update(ctx, b, token, 1, paid); err != nil {
				t.Fatal(err)
			}
		}
		b.want(t, 1, row{90, "paid", token})
		err := b.accounts.Update(ctx, b, token-1, 1, guard.Set{"balance": 0})
		wantStale(t, err, token-1, token)
		if !strings.Contains(err.Error(), b.accounts.Name+" with id = 1") {
			t.Errorf("%q does not name the row", err)
		}
		wantStale(t, b.accounts.Update(ctx, b, token-1, 1, paid), token-1, token) // even if it would change nothing
		b.want(t, 1, row{90, "paid", token})
		if err := b.accounts.Update(ctx, b, token+1, 1, guard.Set{"balance": 80}); err != nil {
			t.Fatal(err)
		}
		b.want(t, 1, row{80, "paid", token + 1})
		b.want(t, 2, row{200, "", 0}) // another resource
		wantNoRow(t, b.accounts.Update(ctx, b, token, 3, paid))
	})
}

func TestCheck(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		for range 2 {
			if err := b.accounts.Check(t.Context(), b, token, 1); err != nil {
				t.Fatal(err)
			}
		}
		b.want(t, 1, row{100, "", token})
		wantStale(t, b.accounts.Check(t.Context(), b, token-1, 1), token-1, token)
		wantNoRow(t, b.accounts.Check(t.Context(), b, token, 3))
	})
}

func TestUpsert(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		ctx := t.Context()
		for range 2 {
			if err := b.accounts.Upsert(ctx, b, token, 3, guard.Set{"balance": 5, "state": "new"}); err != nil {
				t.Fatal(err)
			}
			b.want(t, 3, row{5, "new", token})
		}
		wantStale(t, b.accounts.Upsert(ctx, b, token-1, 3, guard.Set{"balance": 0, "state": "late"}), token-1, token)
		wantStale(t, b.accounts.Upsert(ctx, b, token-1, 3, guard.Set{"balance": 5, "state": "new"}), token-1, token)
		b.want(t, 3, row{5, "new", token})
		if err := b.accounts.Upsert(ctx, b, token+1, 3, guard.Set{"balance": 6, "state": "next"}); err != nil {
			t.Fatal(err)
		}
		b.want(t, 3, row{6, "next", token + 1})
		if err := b.accounts.Upsert(ctx, b, token+2, 3, nil); err != nil { // the mark alone
			t.Fatal(err)
		}
		b.want(t, 3, row{6, "next", token + 2})
	})
}

func TestExec(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		withdraw := func(token, id, amount int64) error {
			return b.accounts.Exec(t.Context(), b, token, id, b.rebind("UPDATE "+b.accounts.Name+
				" SET balance = balance - ?, last_token = ? WHERE id = ? AND last_token <= ? AND balance >= ?"),
				amount, token, id, token, amount)
		}
		if err := withdraw(token, 1, 30); err != nil {
			t.Fatal(err)
		}
		wantStale(t, withdraw(token-1, 1, 30), token-1, token)
		wantNoRow(t, withdraw(token, 1, 1000)) // its own condition
		wantNoRow(t, withdraw(token, 3, 30))
		b.want(t, 1, row{70, "", token})
		if err := b.accounts.Exec(t.Context(), b, token, 1, "UPDATE nowhere SET x = 1"); err == nil {
			t.Fatal("a statement that cannot run")
		} else if !strings.Contains(err.Error(), b.accounts.Name) {
			t.Fatal(err)
		}
	})
}

// A table of fences remembers the tokens of rows that are deleted.
func TestDeletedRow(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		const resource = "account:1"
		remove := func(token int64) error {
			tx, err := b.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // of what was not committed
			if err = b.fences.Upsert(t.Context(), tx, token, resource, nil); err != nil {
				return err
			}
			if _, err = tx.ExecContext(t.Context(), b.rebind("DELETE FROM "+b.accounts.Name+" WHERE id = ?"), 1); err != nil {
				return err
			}
			return tx.Commit()
		}
		wantStaleAfter := func(token int64) {
			t.Helper()
			wantStale(t, remove(token-1), token-1, token)
			wantStale(t, b.fences.Upsert(t.Context(), b, token-1, resource, nil), token-1, token)
		}
		if err := remove(token); err != nil {
			t.Fatal(err)
		}
		if _, exists := b.account(t.Context(), t, 1); exists {
			t.Fatal("it was not deleted")
		}
		wantStaleAfter(token)
		if err := remove(token); err != nil { // again
			t.Fatal(err)
		}
		if err := remove(token + 1); err != nil {
			t.Fatal(err)
		}
		wantStaleAfter(token + 1)
	})
}
