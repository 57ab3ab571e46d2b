package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Correction is what staff correct of a customer. What is empty, or nil, stays.
type Correction struct {
	Name  string // 1 to 120 characters
	Phone string // E.164, with one of Config.PhonePrefixes; it must be proven again
	Named *bool  // consents to be named to charities
}

// PartyChange is one value that was corrected.
type PartyChange struct {
	At       time.Time
	Actor    string
	Field    string // "name", "phone", "named"
	Old, New string
	Reason   string
}

// CorrectCustomer changes what is known of a customer, for a reason, and keeps what
// stood there before. Another number ends the codes that were sent to the old one, and
// until the new one is proven the customer cannot pay. The number of another customer,
// and a customer who is closed, are CodeConflict. To correct again changes nothing.
func (s *Service) CorrectCustomer(ctx context.Context, number string, k Correction, actor, reason string) (Customer, error) {
	if err := validAct(actor, reason); err != nil {
		return Customer{}, err
	}
	if err := s.validCorrection(k); err != nil {
		return Customer{}, err
	}
	now := s.engine.Now()
	var c Customer
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if c, err = FindCustomer(ctx, tx, number); err != nil {
			return err
		}
		if c.Status == Closed {
			return ledger.Errorf(ledger.CodeConflict, "customer %s is closed", c.Number).InField("customer")
		}
		changes := k.apply(&c)
		for _, change := range changes {
			change.At, change.Actor, change.Reason = now, actor, reason
			if change.Field == "phone" {
				if known, err := knownPhone(ctx, tx, c.Phone, c.ID); err != nil || known {
					return firstError(err, errPhoneTaken(known))
				}
				if err := endCodes(ctx, tx, c.ID, now); err != nil {
					return err
				}
			}
			if err := recordPartyChange(ctx, tx, c.ID, change); err != nil {
				return err
			}
			event := PartyEvent{At: now, Actor: actor, Event: change.Field + "_corrected", Reason: reason}
			if err := recordPartyEvent(ctx, tx, c.ID, event); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, "UPDATE customers SET name = $1, phone = $2, named = $3, phone_verified_at = $4 WHERE id = $5",
			c.Name, c.Phone, sqldb.Flag(c.Named), c.PhoneVerifiedAt, c.ID)
		return err
	})
	if err != nil {
		return Customer{}, fmt.Errorf("correct customer %s: %w", clip(number), err)
	}
	return c, nil
}

func (s *Service) validCorrection(k Correction) error {
	if k.Name == "" && k.Phone == "" && k.Named == nil {
		return ledger.Errorf(ledger.CodeInvalid, "say what to correct: the name, the phone, or whether charities see the name").InField("name")
	}
	if k.Name != "" {
		if err := validText("name", k.Name, maxName); err != nil {
			return err
		}
	}
	if k.Phone != "" {
		return s.validPhone(k.Phone)
	}
	return nil
}

// apply corrects c, and returns what changed.
func (k Correction) apply(c *Customer) []PartyChange {
	var changes []PartyChange
	if k.Name != "" && k.Name != c.Name {
		changes = append(changes, PartyChange{Field: "name", Old: c.Name, New: k.Name})
		c.Name = k.Name
	}
	if k.Phone != "" && k.Phone != c.Phone {
		changes = append(changes, PartyChange{Field: "phone", Old: c.Phone, New: k.Phone})
		c.Phone, c.PhoneVerifiedAt = k.Phone, time.Time{}
	}
	if k.Named != nil && *k.Named != c.Named {
		changes = append(changes, PartyChange{Field: "named", Old: fmt.Sprint(c.Named), New: fmt.Sprint(*k.Named)})
		c.Named = *k.Named
	}
	return changes
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func recordPartyChange(ctx context.Context, tx *sqldb.Tx, party uuid.UUID, c PartyChange) error {
	var ordinal int64
	err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(ordinal) + 1, 0) FROM party_changes WHERE party_id = $1", []any{party}, &ordinal)
	if err != nil {
		return fmt.Errorf("number the change of the %s: %w", c.Field, err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO party_changes (party_id, ordinal, at, actor, field, old_value, new_value, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		party, ordinal, c.At, c.Actor, c.Field, c.Old, c.New, c.Reason)
	if err != nil {
		return fmt.Errorf("record the change of the %s: %w", c.Field, err)
	}
	return nil
}

// PartyChanges returns the newest corrections of a customer, at most limit of them,
// oldest first.
func PartyChanges(ctx context.Context, tx *sqldb.Tx, party uuid.UUID, limit int) ([]PartyChange, error) {
	if err := sqldb.CheckPage(limit, MaxPage); err != nil {
		return nil, err
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT at, actor, field, old_value, new_value, reason FROM (
			SELECT ordinal, at, actor, field, old_value, new_value, reason FROM party_changes WHERE party_id = $1 ORDER BY ordinal DESC LIMIT %d
		) AS newest ORDER BY ordinal`, limit), []any{party}, func(rows *sqldb.Rows) (PartyChange, error) {
		var c PartyChange
		err := rows.Scan(&c.At, &c.Actor, &c.Field, &c.Old, &c.New, &c.Reason)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the corrections of %s: %w", party, err)
	}
	return list, nil
}
