package guard_test

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
)

// What the statements do is tested on databases, in the module sqltest.

func TestStatements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		table                              guard.Table
		column, check, update, upsert, see string
	}{
		{
			guard.Table{Dialect: guard.Postgres, Name: "accounts"},
			"ALTER TABLE accounts ADD COLUMN last_token BIGINT NOT NULL DEFAULT 0",
			"UPDATE accounts SET last_token = $1 WHERE id = $2 AND last_token <= $3",
			"UPDATE accounts SET a = $1, b = $2, last_token = $3 WHERE id = $4 AND last_token <= $5",
			"INSERT INTO accounts AS guarded (id, a, b, last_token) VALUES ($1, $2, $3, $4) " +
				"ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.b, last_token = excluded.last_token " +
				"WHERE guarded.last_token <= excluded.last_token",
			"SELECT last_token FROM accounts WHERE id = $1",
		},
		{
			guard.Table{Dialect: guard.MySQL, Name: "bank.accounts", Key: "number", Token: "fence"},
			"ALTER TABLE bank.accounts ADD COLUMN fence BIGINT NOT NULL DEFAULT 0",
			"UPDATE bank.accounts SET fence = ? WHERE number = ? AND fence <= ?",
			"UPDATE bank.accounts SET a = ?, b = ?, fence = ? WHERE number = ? AND fence <= ?",
			"INSERT INTO bank.accounts (number, a, b, fence) VALUES (?, ?, ?, ?) " +
				"ON DUPLICATE KEY UPDATE a = IF(fence <= VALUES(fence), VALUES(a), a), b = IF(fence <= VALUES(fence), VALUES(b), b), " +
				"fence = GREATEST(fence, VALUES(fence))",
			"SELECT fence FROM bank.accounts WHERE number = ? FOR UPDATE",
		},
		{
			guard.Table{Dialect: guard.SQLite, Name: "accounts"},
			"ALTER TABLE accounts ADD COLUMN last_token BIGINT NOT NULL DEFAULT 0",
			"UPDATE accounts SET last_token = ? WHERE id = ? AND last_token <= ?",
			"UPDATE accounts SET a = ?, b = ?, last_token = ? WHERE id = ? AND last_token <= ?",
			"INSERT INTO accounts AS guarded (id, a, b, last_token) VALUES (?, ?, ?, ?) " +
				"ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.b, last_token = excluded.last_token " +
				"WHERE guarded.last_token <= excluded.last_token",
			"SELECT last_token FROM accounts WHERE id = ?",
		},
	} {
		wantText(t, c.column)(c.table.ColumnSQL())
		wantText(t, c.check)(c.table.UpdateSQL())
		wantText(t, c.update)(c.table.UpdateSQL("a", "b"))
		wantText(t, c.upsert)(c.table.UpsertSQL("a", "b"))
		wantText(t, c.see)(c.table.LookSQL())
	}
}

func wantText(t *testing.T, want string) func(string, error) {
	return func(got string, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
}

// noDatabase fails the test if anything is sent to it.
type noDatabase struct{ t *testing.T }

func (d noDatabase) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	d.t.Error("a statement was sent")
	return nil, sql.ErrConnDone
}

func (d noDatabase) QueryRowContext(context.Context, string, ...any) *sql.Row {
	d.t.Error("a query was sent")
	return nil
}

func TestTableMisuse(t *testing.T) {
	t.Parallel()
	good := guard.Table{Dialect: guard.SQLite, Name: "accounts"}
	db := noDatabase{t}
	all := func(table guard.Table, db guard.DB, ctx context.Context, token int64, set guard.Set, names string) {
		t.Helper()
		for call, err := range map[string]error{
			"Update": table.Update(ctx, db, token, 42, set),
			"Upsert": table.Upsert(ctx, db, token, 42, set),
		} {
			if !errors.Is(err, holdfast.ErrInvalid) || !strings.Contains(err.Error(), names) {
				t.Errorf("%s: %v, want an ErrInvalid that names %q", call, err, names)
			}
		}
		if set != nil {
			return
		}
		for call, err := range map[string]error{
			"Check": table.Check(ctx, db, token, 42),
			"Exec":  table.Exec(ctx, db, token, 42, "UPDATE accounts SET x = 1"),
		} {
			if !errors.Is(err, holdfast.ErrInvalid) || !strings.Contains(err.Error(), names) {
				t.Errorf("%s: %v, want an ErrInvalid that names %q", call, err, names)
			}
		}
	}
	for _, token := range noTokens {
		all(good, db, t.Context(), token, nil, strconv.FormatInt(token, 10))
	}
	var noDB *sql.DB
	var noConn *sql.Conn
	var noTx *sql.Tx
	for _, none := range []guard.DB{nil, noDB, noConn, noTx} {
		all(good, none, t.Context(), now, nil, "database is nil")
	}
	all(good, db, nil, now, nil, "context is nil")
	all(guard.Table{}, db, t.Context(), now, nil, `dialect ""`)
	all(guard.Table{Dialect: "oracle", Name: "a"}, db, t.Context(), now, nil, `"oracle"`)
	all(guard.Table{Dialect: guard.MySQL}, db, t.Context(), now, nil, `""`)
	all(guard.Table{Dialect: guard.MySQL, Name: "a", Key: "x", Token: "X"}, db, t.Context(), now, nil, "one column")
	for _, bad := range []string{"a b", "a;", `a"`, "a`", "a'", "a.b.c", ".a", "a.", "1a", "a-b", "a\n", "ä", "a--", strings.Repeat("a", 64)} {
		all(guard.Table{Dialect: guard.MySQL, Name: bad}, db, t.Context(), now, nil, "not a plain name")
		all(guard.Table{Dialect: guard.MySQL, Name: "a", Key: bad}, db, t.Context(), now, nil, "not a plain name")
		all(guard.Table{Dialect: guard.MySQL, Name: "a", Token: bad}, db, t.Context(), now, nil, "not a plain name")
		all(good, db, t.Context(), now, guard.Set{bad: 1}, "not a plain name")
	}
	all(good, db, t.Context(), now, guard.Set{"a.b": 1}, "not a plain name")
	all(good, db, t.Context(), now, guard.Set{"": 1}, "not a plain name")
	for _, column := range []string{"id", "ID", "last_token", "Last_Token"} {
		all(good, db, t.Context(), now, guard.Set{column: 1}, column)
	}
	all(good, db, t.Context(), now, guard.Set{"a": 1, "A": 2}, "twice")
	if err := good.Exec(t.Context(), db, now, 42, ""); !errors.Is(err, holdfast.ErrInvalid) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := good.Check(ended, db, now, 42); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Whatever the names are: a statement holds nothing but words and what it is made of.
func TestNamesCannotSmuggle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z_]{1,5}[\x00-\x7f]?[a-z0-9.]{0,3}`))
		table := guard.Table{Dialect: guard.SQLite, Name: name.Draw(rt, "table"), Key: name.Draw(rt, "key"), Token: name.Draw(rt, "token")}
		text, err := table.UpsertSQL(name.Draw(rt, "column"))
		if err != nil {
			if !errors.Is(err, holdfast.ErrInvalid) || text != "" {
				rt.Fatal(text, err)
			}
			return
		}
		if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ .,()=<?") != "" {
			rt.Fatal(text)
		}
	})
}
