package ledgerbench

import (
	"context"
	"fmt"
	"strings"

	"tweetledger/internal/sqldb"
)

// Durability is what the database does before it calls a transaction committed.
type Durability struct {
	Settings []Setting `json:"settings"`
	// Warning says why figures of this database are not those of a durable one;
	// empty where they are.
	Warning string `json:"warning,omitempty"`
}

// Setting of a database.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// notDurable begins every warning.
const notDurable = "figures without fsync are not durable: "

// durability reads the settings on a connection of those that the run uses.
func (b *bench) durability(ctx context.Context) (Durability, error) {
	var d Durability
	ask := func(name, query string) (string, error) {
		var value string
		if err := b.DB.Pool().QueryRowContext(ctx, query).Scan(&value); err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		d.Settings = append(d.Settings, Setting{name, value})
		return value, nil
	}
	var off []string
	switch b.DB.Engine() {
	case sqldb.SQLite:
		if _, err := ask("journal_mode", "PRAGMA journal_mode"); err != nil {
			return d, err
		}
		level, err := ask("synchronous", "SELECT CASE synchronous WHEN 0 THEN 'off' WHEN 1 THEN 'normal' WHEN 2 THEN 'full' ELSE 'extra' END FROM pragma_synchronous")
		if err != nil {
			return d, err
		}
		if level == "off" || level == "normal" {
			off = append(off, "synchronous is "+level)
		}
	case sqldb.PostgreSQL:
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			value, err := ask(name, "SHOW "+name)
			if err != nil {
				return d, err
			}
			if value == "off" {
				off = append(off, name+" is off")
			}
		}
	case sqldb.CockroachDB:
		// Every commit is on the disks of a majority, unless the nodes were told otherwise.
		const unsafeSetting = "kv.raft_log.disable_synchronization_unsafe"
		value, err := ask(unsafeSetting, "SHOW CLUSTER SETTING "+unsafeSetting)
		switch {
		case sqldb.ClassOf(err) == sqldb.ClassOther && ctx.Err() == nil && err != nil:
			d.Settings = append(d.Settings, Setting{unsafeSetting, "not shown to this user"})
		case err != nil:
			return d, err
		case value == "true":
			off = append(off, unsafeSetting+" is true")
		}
		var inMemory int64
		err = b.DB.Pool().QueryRowContext(ctx, "SELECT count(*) FROM crdb_internal.kv_node_status WHERE args::text LIKE '%type=mem%'").Scan(&inMemory)
		if err == nil && inMemory > 0 { // a user who may not ask is not told
			off = append(off, "a node's store is in memory")
		}
	}
	if len(off) > 0 {
		d.Warning = notDurable + strings.Join(off, ", ")
	}
	return d, nil
}

// version asks the database what it is.
func (b *bench) version(ctx context.Context) (string, error) {
	query := "SELECT version()"
	if b.DB.Engine() == sqldb.SQLite {
		query = "SELECT 'SQLite ' || sqlite_version()"
	}
	var version string
	if err := b.DB.Pool().QueryRowContext(ctx, query).Scan(&version); err != nil {
		return "", fmt.Errorf("ask the database for its version: %w", err)
	}
	version, _, _ = strings.Cut(version, " (") // what it was built with
	return version, nil
}
