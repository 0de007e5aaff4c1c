package sqltest

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/guard"
)

func begin(t *testing.T, b *backend) *sql.Tx {
	t.Helper()
	tx, err := b.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // of what was not committed
	return tx
}

// From Check to Commit nobody else comes by, so that all of the transaction is
// guarded; an older holder who waited is refused then.
func TestCheckGuardsTheTransaction(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		tx := begin(t, b)
		if err := b.accounts.Check(t.Context(), tx, token, 1); err != nil {
			t.Fatal(err)
		}
		late := make(chan error, 1)
		go func() { late <- b.accounts.Update(t.Context(), b, token-1, 1, guard.Set{"balance": 0}) }()
		select {
		case err := <-late:
			t.Fatalf("an older holder did not wait: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if _, err := tx.ExecContext(t.Context(), "UPDATE "+b.accounts.Name+" SET balance = balance - 10 WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		wantStale(t, <-late, token-1, token)
		b.want(t, 1, row{90, "", token})
	})
}

// A transaction that is rolled back has written nothing, the token included.
func TestRollback(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		tx := begin(t, b)
		if err := b.accounts.Update(t.Context(), tx, token, 1, guard.Set{"balance": 0}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		b.want(t, 1, row{balance: 100})
		if err := b.accounts.Check(t.Context(), b, token-1, 1); err != nil {
			t.Fatal(err)
		}
		if err := b.accounts.Check(t.Context(), tx, token, 1); !errors.Is(err, sql.ErrTxDone) {
			t.Fatal(err)
		}
	})
}

// A transaction that has read before sees, on MySQL, the row as it was then: what
// was let pass since must count all the same.
func TestOldSnapshot(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		if b.accounts.Dialect == guard.SQLite {
			return // it does not let a transaction write that has read what is old
		}
		if err := b.accounts.Update(t.Context(), b, token, 1, guard.Set{"balance": 90}); err != nil {
			t.Fatal(err)
		}
		tx := begin(t, b)
		var balance int64
		if err := tx.QueryRowContext(t.Context(), "SELECT balance FROM "+b.accounts.Name+" WHERE id = 1").Scan(&balance); err != nil {
			t.Fatal(err)
		}
		if err := b.accounts.Update(t.Context(), b, token+1, 1, guard.Set{"balance": 80}); err != nil {
			t.Fatal(err)
		}
		wantStale(t, b.accounts.Update(t.Context(), tx, token, 1, guard.Set{"balance": 90}), token, token+1)
		wantStale(t, b.accounts.Upsert(t.Context(), tx, token, 1, guard.Set{"balance": 90}), token, token+1)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		b.want(t, 1, row{80, "", token + 1})
	})
}
