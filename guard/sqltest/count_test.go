package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/guard"
)

// counting answers as MySQL counts: its statements do nothing and affect so many
// rows, and the row is as it is. It needs no MySQL to see what is made of that.
type counting struct {
	*sql.DB
	count int64
}

func (c counting) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return driver.RowsAffected(c.count), nil
}

func (c counting) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return c.DB.QueryRowContext(ctx, strings.TrimSuffix(query, " FOR UPDATE"), args...)
}

// MySQL counts what changes, and an upsert as 0, 1 or 2: what is kept decides.
func TestMySQLCounts(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		if b.accounts.Dialect != guard.SQLite {
			return // one is enough
		}
		b.run(t, "UPDATE "+b.accounts.Name+" SET last_token = ? WHERE id = 1", token)
		accounts := b.accounts
		accounts.Dialect = guard.MySQL
		const missing = 3
		for _, c := range []struct {
			call          string
			count         int64
			id, offered   int64
			stale, absent bool
		}{
			{"update", 1, 1, token, false, false},
			{"update", 0, 1, token, false, false}, // as it was before
			{"update", 0, 1, token - 1, true, false},
			{"update", 0, 1, token + 1, false, true}, // the row came after the statement
			{"update", 0, missing, token, false, true},
			{"upsert", 2, 1, token - 1, false, false}, // it was, and another came after it
			{"upsert", 1, 1, token, false, false},
			{"upsert", 1, 1, token - 1, true, false}, // with clientFoundRows
			{"upsert", 0, 1, token, false, false},
			{"upsert", 0, 1, token - 1, true, false},
			{"upsert", 1, missing, token, false, true}, // another unique index
			{"exec", 1, 1, token, false, false},
			{"exec", 0, 1, token, false, true}, // its own condition, for all that is known
			{"exec", 0, 1, token - 1, true, false},
		} {
			db := counting{b.DB, c.count}
			var err error
			switch c.call {
			case "update":
				err = accounts.Update(t.Context(), db, c.offered, c.id, guard.Set{"balance": 1})
			case "upsert":
				err = accounts.Upsert(t.Context(), db, c.offered, c.id, guard.Set{"balance": 1})
			case "exec":
				err = accounts.Exec(t.Context(), db, c.offered, c.id, "a statement")
			}
			switch {
			case c.stale:
				wantStale(t, err, c.offered, token)
			case c.absent:
				wantNoRow(t, err)
			case err != nil:
				t.Errorf("%+v: %v", c, err)
			}
		}
	})
}

// An upsert that affects no row was refused, on all but MySQL, even if the row has
// gone, or has been made anew, before it is asked why.
func TestUpsertRefusedThenGone(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		if b.accounts.Dialect == guard.MySQL {
			return
		}
		for _, id := range []int64{1, 3} { // with a lower token, and none
			err := b.accounts.Upsert(t.Context(), counting{b.DB, 0}, token, id, guard.Set{"balance": 1})
			wantStale(t, err, token, 0)
			if !strings.Contains(err.Error(), "below the highest") {
				t.Error(err)
			}
		}
	})
}
