package guard

import (
	"regexp"
	"strings"
)

// Dialect is how a database writes its statements.
type Dialect string

// The dialects. MariaDB is MySQL here.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
	SQLite   Dialect = "sqlite"
)

// Table is a SQL table that keeps, in each row, the highest token that wrote it. A
// row is the resource that a lock protects. [Table.ColumnSQL] is the column that it
// needs. The database's own row locks make each check and its write one step.
//
// In a transaction [Table.Check] guards all that follows, whatever it is:
//
//	tx, err := db.BeginTx(ctx, nil)
//	...
//	defer tx.Rollback()
//	if err := accounts.Check(ctx, tx, token, 42); err != nil {
//		return err
//	}
//	// The row is ours until the transaction ends, and older holders are refused.
//	_, err = tx.ExecContext(ctx, `UPDATE accounts SET balance = balance - 10 WHERE id = 42`)
//	...
//	return tx.Commit()
//
// Make it the first statement, so that what the transaction reads is not older than
// the check. At isolation levels above the default, a database may refuse with an
// error of its own what met another transaction; run it again then, from Check on.
//
// A row that is deleted has forgotten its token, and an older holder could insert it
// again. Either keep the row and mark it, as in Set{"deleted": true}, until no holder
// of that time can be left; or keep the tokens in a table of their own, which also
// guards what is more than one row:
//
//	CREATE TABLE fences (resource VARCHAR(200) PRIMARY KEY, last_token BIGINT NOT NULL)
//
//	fences := guard.Table{Dialect: guard.Postgres, Name: "fences", Key: "resource"}
//	err := fences.Upsert(ctx, tx, token, "account:42", nil) // first in the transaction
//
// Names go into the text of statements as they are, so they are plain ones only:
// ASCII letters, digits and underscores. A keyword as a name is refused by the
// database. A Table is a value; its methods are safe for concurrent use as far as
// the DB is.
type Table struct {
	Dialect Dialect // there is no default
	Name    string  // "accounts" or "billing.accounts"
	Key     string  // the column that finds a row, unique; defaults to "id"
	Token   string  // the column that keeps the token; defaults to "last_token"
}

// identifier leaves nothing to quote, so that nothing can be smuggled in.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// filled is the table with its defaults, if it and the columns make sense.
func (t Table) filled(columns ...string) (Table, error) {
	if t.Key == "" {
		t.Key = "id"
	}
	if t.Token == "" {
		t.Token = "last_token"
	}
	switch t.Dialect {
	case Postgres, MySQL, SQLite:
	default:
		return t, invalid("Table %q: dialect %q is none of postgres, mysql, sqlite", t.Name, t.Dialect)
	}
	names := append(strings.SplitN(t.Name, ".", 2), t.Key, t.Token)
	for _, name := range append(names, columns...) {
		if !identifier.MatchString(name) {
			return t, invalid("Table %q: %q is not a plain name", t.Name, name)
		}
	}
	if strings.EqualFold(t.Key, t.Token) {
		return t, invalid("Table %q: key and token are one column, %q", t.Name, t.Key)
	}
	return t, t.distinct(columns)
}

// distinct refuses columns that a statement would set twice.
func (t Table) distinct(columns []string) error {
	seen := map[string]bool{strings.ToLower(t.Key): true, strings.ToLower(t.Token): true}
	for _, column := range columns {
		folded := strings.ToLower(column)
		if seen[folded] {
			return invalid("Table %q: column %q is set twice, or is the key or the token", t.Name, column)
		}
		seen[folded] = true
	}
	return nil
}
