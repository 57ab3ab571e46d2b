package payouts

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// IBANFlag says that a payout to an account was rejected or returned for a reason that
// concerns the account. While a flag stands nothing is paid out to the account: until
// two persons say that it is right after all. A payee who has another account by now is
// paid there.
type IBANFlag struct {
	PayoutID   uuid.UUID
	EndToEndID string // of the payout
	IBAN       string
	Reason     string // ISO code; empty: the bank gave none
	FlaggedBy  string // who imported the bank's news
	FlaggedAt  time.Time
	VouchedBy  string // the first person who says that the IBAN is right; empty: nobody yet
	VouchedAt  time.Time
	VouchedFor string // why
}

// refuse says why a payee is not paid, and what to do.
func (f IBANFlag) refuse(payee string) string {
	two := "two persons"
	if f.VouchedBy != "" {
		two = "another person than " + f.VouchedBy
	}
	return fmt.Sprintf("%s is not paid: the bank could not credit %s (payout %s: %s); enter another IBAN (payee bank), or have %s say that it is right (payee confirm-bank)",
		payee, f.IBAN, f.EndToEndID, ReasonText(f.Reason), two)
}

// Note says in one line that a payee's account is flagged, and what to do.
func (f IBANFlag) Note(payee string) string { return f.refuse(payee) + "." }

// maxFlags bounds the flags of one account that are read at once: there is one a payout
// that came back, and the first of them stops the next.
const maxFlags = 1_000

const flagSelect = `SELECT f.payout_id, p.end_to_end_id, f.iban, f.reason, f.flagged_by, f.flagged_at, COALESCE(f.vouched_by, ''), f.vouched_at, COALESCE(f.vouched_for, '')
	FROM iban_flags AS f JOIN payouts AS p ON p.id = f.payout_id`

func scanFlag(rows *sqldb.Rows) (IBANFlag, error) {
	var f IBANFlag
	err := rows.Scan(&f.PayoutID, &f.EndToEndID, &f.IBAN, &f.Reason, &f.FlaggedBy, &f.FlaggedAt, &f.VouchedBy, &f.VouchedAt, &f.VouchedFor)
	return f, err
}

// OpenFlags returns the flag that stands to each of at most MaxPage accounts, by IBAN:
// the last one, where there are several.
func OpenFlags(ctx context.Context, tx *sqldb.Tx, ibans []string) (map[string]IBANFlag, error) {
	if len(ibans) > MaxPage {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for at most %d accounts at once, not %d", MaxPage, len(ibans)).InField("ibans")
	}
	return openFlags(ctx, tx, ibans)
}

func openFlags(ctx context.Context, tx *sqldb.Tx, ibans []string) (map[string]IBANFlag, error) {
	flags := map[string]IBANFlag{}
	err := tx.Each(ctx, flagSelect+" WHERE f.lifted_at IS NULL AND "+tx.AnyText("f.iban", 1)+" ORDER BY f.iban, p.end_to_end_id", []any{sortedUnique(ibans)},
		func(rows *sqldb.Rows) error {
			f, err := scanFlag(rows)
			flags[f.IBAN] = f
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for flagged accounts: %w", err)
	}
	return flags, nil
}

func insertFlags(ctx context.Context, tx *sqldb.Tx, flags []IBANFlag) error {
	err := tx.Insert(ctx, "iban_flags", []sqldb.Column{
		{Name: "payout_id", Type: "uuid"}, {Name: "iban", Type: "text"}, {Name: "reason", Type: "text"}, {Name: "flagged_by", Type: "text"}, {Name: "flagged_at", Type: "timestamptz"},
	}, len(flags), func(i int) []any {
		f := flags[i]
		return []any{f.PayoutID, f.IBAN, f.Reason, f.FlaggedBy, f.FlaggedAt}
	})
	if err != nil {
		return fmt.Errorf("flag accounts: %w", err)
	}
	return nil
}

// Confirmation is what the word of a person did to a payee's flagged account.
type Confirmation struct {
	IBAN string
	// Waiting is set while another person must say the same; else the payee is paid again.
	Waiting bool
}

// ConfirmIBAN is the word of a person that a payee's account is right, though the bank
// could not credit it. The first person's is kept; the word of another one lifts the
// flag. CodeNotFound where the account is not flagged; CodeForbidden where the same
// person says it twice.
func (s *Service) ConfirmIBAN(ctx context.Context, payeeCode, actor, why string) (Confirmation, error) {
	if err := checkActor(actor); err != nil {
		return Confirmation{}, err
	}
	if !ledger.Printable(why, maxWhy) {
		return Confirmation{}, ledger.Errorf(ledger.CodeInvalid, "say how you know that the account is right, in 1 to %d bytes of printable text", maxWhy).InField("reason")
	}
	now := s.engine.Now()
	var done Confirmation
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		payee, err := payments.FindPayee(ctx, tx, payeeCode)
		if err != nil {
			return err
		}
		done = Confirmation{IBAN: payee.IBAN}
		return confirm(ctx, tx, payee, actor, why, now, &done)
	})
	if err != nil {
		return Confirmation{}, fmt.Errorf("confirm the account of %s: %w", ledger.Clip(payeeCode), err)
	}
	s.log.InfoContext(ctx, "account confirmed", "payee", payeeCode, "waiting", done.Waiting, "actor", actor)
	return done, nil
}

// maxWhy bounds why an account is right, in bytes.
const maxWhy = 200

func confirm(ctx context.Context, tx *sqldb.Tx, payee payments.Payee, actor, why string, now time.Time, done *Confirmation) error {
	ids, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT payout_id FROM iban_flags WHERE iban = $1 AND lifted_at IS NULL ORDER BY payout_id LIMIT %d", maxFlags)+tx.ForUpdate(),
		[]any{payee.IBAN}, scanID)
	if err != nil {
		return fmt.Errorf("look for flags: %w", err)
	}
	if payee.IBAN == "" || len(ids) == 0 {
		return ledger.Errorf(ledger.CodeNotFound, "the account of %s is not flagged; \"payee list\" shows those that are", payee.Code).InField("payee")
	}
	flags, err := sqldb.Collect(ctx, tx, flagSelect+" WHERE "+tx.AnyUUID("f.payout_id", 1)+" ORDER BY p.end_to_end_id", []any{ids}, scanFlag)
	if err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	changed := false
	for _, f := range flags {
		switch {
		case f.VouchedBy == "":
			done.Waiting, changed = true, true
			err = changeOne(ctx, tx, "keep the first word", "UPDATE iban_flags SET vouched_by = $1, vouched_at = $2, vouched_for = $3 WHERE payout_id = $4 AND vouched_by IS NULL",
				actor, now, why, f.PayoutID)
		case samePerson(f.VouchedBy, actor):
			done.Waiting = true
		default:
			changed = true
			err = changeOne(ctx, tx, "lift a flag", "UPDATE iban_flags SET lifted_by = $1, lifted_at = $2, lifted_for = $3 WHERE payout_id = $4 AND lifted_at IS NULL",
				actor, now, why, f.PayoutID)
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		return ledger.Errorf(ledger.CodeForbidden, "%s has said so already; another person must say it, too", actor).InField("actor")
	}
	return nil
}
