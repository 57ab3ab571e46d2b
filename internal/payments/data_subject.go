package payments

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
)

// dataSubject is a customer with everything by which the book may know the person:
// export and erasure look for it.
type dataSubject struct {
	customer Customer
	users    []userID // accounts that are linked, or were when they paid or were paid
	standIns []string // user ids that stand for erased ones
	handles  []string // without @
	phones   []string // also those that were corrected
	names    []string // likewise
}

// userID is an account of a channel, as it is linked.
type userID struct{ channel, id string }

// maxAccounts bounds the accounts, handles and corrections of one person that are
// looked for: nobody links so many by hand.
const maxAccounts = 1000

// erasedText stands where something personal stood. It fits every column that has a
// least length, and is no handle.
const erasedText = "(erased)"

// erasedHandle stands where a handle stood.
const erasedHandle = "erased"

// erasedUser is what the user ids that stand for erased ones begin with.
const erasedUser = "erased-"

// findDataSubject gathers by what a customer may be known.
func findDataSubject(ctx context.Context, tx *sqldb.Tx, c Customer) (dataSubject, error) {
	d := dataSubject{customer: c, phones: []string{c.Phone}, names: []string{c.Name}}
	accounts := func(written bool, query string, args ...any) error {
		return tx.Each(ctx, query+fmt.Sprintf(" LIMIT %d", maxAccounts), args, func(rows *sqldb.Rows) error {
			var u userID
			var handle string
			if err := rows.Scan(&u.channel, &u.id, &handle); err != nil {
				return err
			}
			u.channel = linkChannel(u.channel)
			switch {
			case strings.HasPrefix(u.id, erasedUser):
				d.standIns = append(d.standIns, u.id)
			case !slices.Contains(d.users, u):
				if written {
					return nil // somebody's of another channel
				}
				d.users = append(d.users, u)
			}
			if handle != "" && handle != erasedHandle && !slices.Contains(d.handles, handle) {
				d.handles = append(d.handles, handle)
			}
			return nil
		})
	}
	if err := accounts(false, "SELECT channel, user_id, handle FROM links WHERE customer_id = $1", c.ID); err != nil {
		return d, fmt.Errorf("accounts of %s: %w", c.Number, err)
	}
	if err := accounts(false, "SELECT DISTINCT channel, payer_user_id, '' FROM orders WHERE payer_id = $1", c.ID); err != nil {
		return d, fmt.Errorf("accounts that %s paid from: %w", c.Number, err)
	}
	if err := accounts(false, "SELECT DISTINCT channel, payee_user_id, payee_handle FROM orders WHERE payee_customer_id = $1", c.ID); err != nil {
		return d, fmt.Errorf("accounts that %s was paid to: %w", c.Number, err)
	}
	if len(d.users) > 0 {
		if err := accounts(true, "SELECT DISTINCT channel, author_id, author_handle FROM messages WHERE "+tx.AnyText("author_id", 1), d.ids()); err != nil {
			return d, fmt.Errorf("handles of %s: %w", c.Number, err)
		}
	}
	changes, err := PartyChanges(ctx, tx, c.ID, maxAccounts)
	if err != nil {
		return d, err
	}
	for _, change := range changes {
		switch change.Field {
		case "name":
			d.names = append(d.names, change.Old, change.New)
		case "phone":
			d.phones = append(d.phones, change.Old, change.New)
		}
	}
	d.names, d.phones = known(d.names), known(d.phones)
	return d, nil
}

// known returns what is not erased, each once.
func known(list []string) []string {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" || s == erasedText })
}

// ids returns the user ids, of all channels.
func (d dataSubject) ids() []string {
	list := make([]string, 0, len(d.users))
	for _, u := range d.users {
		list = append(list, u.id)
	}
	return known(list)
}

// is reports whether a user of a channel is the person.
func (d dataSubject) is(channel, id string) bool {
	return slices.Contains(d.users, userID{linkChannel(channel), id})
}

// standIn returns the user id that stands for one of the person's. It is keyed: who has
// the book, and not the service's key, cannot find out which it was by trying them all.
func (s *Service) standIn(c Customer, channel, id string) string {
	return erasedUser + hex.EncodeToString(mac(s.keys.pseudonym, []byte("erased user"), c.ID[:], []byte(linkChannel(channel)), []byte(id))[:8])
}

// mentionedIn returns a condition that finds the person's user ids in a column of JSON.
func (d dataSubject) mentionedIn(column string, w *sqldb.Where) string {
	var parts []string
	var args []any
	for _, id := range d.ids() {
		parts = append(parts, "COALESCE(CAST("+column+" AS text), '') LIKE ?")
		args = append(args, `%"`+id+`"%`)
	}
	if len(parts) == 0 {
		return "1 = 0"
	}
	start := len(w.Args)
	w.Args = append(slices.Clip(w.Args), args...)
	for i := range parts {
		parts[i] = strings.Replace(parts[i], "?", fmt.Sprintf("$%d", start+i+1), 1)
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// erasedJSON returns a text of JSON with the person's user ids and handles replaced.
func (s *Service) erasedJSON(d dataSubject, channel, text string) (string, error) {
	var value any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // amounts are no floats
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	changed, err := json.Marshal(s.erasedValue(d, channel, value))
	return string(changed), err
}

func (s *Service) erasedValue(d dataSubject, channel string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, part := range v {
			v[name] = s.erasedValue(d, channel, part)
		}
	case []any:
		for i, part := range v {
			v[i] = s.erasedValue(d, channel, part)
		}
	case string:
		switch {
		case d.is(channel, v):
			return s.standIn(d.customer, channel, v)
		case slices.ContainsFunc(d.handles, func(handle string) bool { return strings.EqualFold(handle, v) }):
			return erasedHandle
		}
	}
	return value
}

// named returns what of the person stands in a text: a name, number, handle or user id.
func (d dataSubject) named(text string) (string, bool) {
	lower := strings.ToLower(text)
	digits := strings.NewReplacer(" ", "", ".", "", "-", "").Replace(text)
	var parts []string // of names: a family name alone names somebody
	for _, name := range d.names {
		for part := range strings.FieldsSeq(name) {
			if utf8.RuneCountInString(part) >= shortestName {
				parts = append(parts, part)
			}
		}
	}
	for _, list := range [][]string{parts, d.handles, d.ids()} {
		for _, word := range list {
			if strings.Contains(lower, strings.ToLower(word)) {
				return word, true
			}
		}
	}
	for _, phone := range d.phones {
		if home := strings.TrimPrefix(phone, "+33"); strings.Contains(digits, home) {
			return phone, true
		}
	}
	return "", false
}

// shortestName is the length, in code points, of a part of a name that is looked for in
// a text: shorter ones are in every other word.
const shortestName = 3

// ofParty is what a customer's rows in a table are found by.
func ofParty(id uuid.UUID) []any { return []any{id} }
