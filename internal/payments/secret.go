package payments

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

var secretPattern = regexp.MustCompile(`^[0-9]{6}$`)

func validSecret(code string) error {
	if !secretPattern.MatchString(code) {
		return ledger.Errorf(ledger.CodeInvalid, "the secret code has 6 digits").InField("code")
	}
	return nil
}

// argon2 salt and key lengths in bytes (RFC 9106, section 4).
const (
	secretSalt = 16
	secretHash = 32
)

func (s *Service) secretParams() *argon2id.Params {
	p := s.config.Secret
	return &argon2id.Params{Memory: p.MemoryKiB, Iterations: p.Iterations, Parallelism: p.Parallelism, SaltLength: secretSalt, KeyLength: secretHash}
}

// pepper binds a code to its customer and to a key that is not in the database,
// without which a stolen table would give away a million possible codes quickly.
func (s *Service) pepper(customer uuid.UUID, code string) string {
	return hex.EncodeToString(mac(s.keys.pepper, customer[:], []byte(code)))
}

// hashSlot waits until one more hash may be computed. It is never called inside
// a database transaction: a hash takes as long as hundreds of them.
func (s *Service) hashSlot(ctx context.Context) (release func(), err error) {
	select {
	case s.hashing <- struct{}{}:
		return func() { <-s.hashing }, nil
	case <-ctx.Done():
		return nil, &ledger.Error{Code: ledger.CodeUnavailable, Err: ctx.Err(), Message: "too many codes are being checked; try again in a moment"}
	}
}

func (s *Service) hashSecret(ctx context.Context, customer uuid.UUID, code string) (string, error) {
	release, err := s.hashSlot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, err := argon2id.CreateHash(s.pepper(customer, code), s.secretParams())
	if err != nil {
		return "", fmt.Errorf("hash the secret code: %w", err)
	}
	return hash, nil
}

// tried is what came of a try of a secret code.
type tried struct {
	right bool // and not blocked
	stale bool // the hash was made with other parameters than today's
	last  bool // it was the last try there is
}

// tryCode uses up one of a customer's tries and compares the code, in constant
// time. The slot to hash in comes before the try: who waits for one in vain has
// guessed nothing, and a crowd must not block the codes of those who stand in it.
// The customer's turn comes before the slot: nobody gets more than one of them.
func (s *Service) tryCode(ctx context.Context, c Customer, code string) (tried, error) {
	done, err := s.turns.take(ctx, c.ID)
	if err != nil {
		return tried{}, err
	}
	defer done()
	release, err := s.hashSlot(ctx)
	if err != nil {
		return tried{}, err
	}
	defer release()
	taken, last, err := s.takeTry(ctx, c.ID, s.engine.Now())
	if err != nil || c.secretHash == "" {
		return tried{}, err
	}
	right, params, err := argon2id.CheckHash(s.pepper(c.ID, code), c.secretHash) // also for a blocked code: the answer takes as long
	if err != nil {
		return tried{}, fmt.Errorf("check the secret code: %w", err)
	}
	return tried{right: taken && right, stale: *params != *s.secretParams(), last: last}, nil
}

// SetSecretCode gives a customer a new secret code of 6 digits, and lifts a block. One
// that is easy to guess is a WeakCodeError. The caller has made sure who is asking.
func (s *Service) SetSecretCode(ctx context.Context, customerNumber, code, actor string) error {
	if err := validSecret(code); err != nil {
		return err
	}
	if err := validText("actor", actor, maxActor); err != nil {
		return err
	}
	c, err := s.Customer(ctx, customerNumber)
	if err != nil {
		return err
	}
	if c.Status == Closed {
		return ledger.Errorf(ledger.CodeConflict, "customer %s is closed", c.Number).InField("customer")
	}
	if err := checkChosen(code, c.Phone); err != nil {
		return err
	}
	hash, err := s.hashSecret(ctx, c.ID, code)
	if err != nil {
		return err
	}
	now := s.engine.Now()
	err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE customers SET secret_hash = $1, secret_failures = 0, secret_blocked_at = NULL WHERE id = $2", hash, c.ID)
		if err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: "secret_set", Reason: "new secret code"})
	})
	if err != nil {
		return fmt.Errorf("set the secret code of customer %s: %w", c.Number, err)
	}
	return nil
}

// UnblockCode gives a customer new tries, for a reason. Staff, or whoever has
// verified the customer anew, call it.
func (s *Service) UnblockCode(ctx context.Context, customerNumber, actor, reason string) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	now := s.engine.Now()
	err := s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, customerNumber)
		if err != nil || (c.SecretFailures == 0 && c.SecretBlockedAt.IsZero()) {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE customers SET secret_failures = 0, secret_blocked_at = NULL WHERE id = $1", c.ID); err != nil {
			return err
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: "secret_unblocked", Reason: reason})
	})
	if err != nil {
		return fmt.Errorf("unblock the secret code of customer %s: %w", clip(customerNumber), err)
	}
	return nil
}

// takeTry counts a try against a customer's code before anybody looks at it, and
// commits that: however many guesses run at once, on however many nodes, no more
// than SecretTries of them are ever compared. last says that it was the last one.
func (s *Service) takeTry(ctx context.Context, customer uuid.UUID, now time.Time) (taken, last bool, err error) {
	most := int64(s.config.SecretTries)
	err = s.db.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		taken, last = false, false
		n, err := tx.Exec(ctx, `UPDATE customers SET secret_failures = secret_failures + 1,
				secret_blocked_at = CASE WHEN secret_failures + 1 >= $1 THEN $2 ELSE secret_blocked_at END
			WHERE id = $3 AND secret_failures < $1 AND secret_hash IS NOT NULL`, most, now, customer)
		if err != nil || n == 0 {
			return err
		}
		var failures int64
		if err := tx.QueryRow(ctx, "SELECT secret_failures FROM customers WHERE id = $1", []any{customer}, &failures); err != nil {
			return err
		}
		taken, last = true, failures >= most
		return nil
	})
	if err != nil {
		return false, false, fmt.Errorf("count the try of a secret code: %w", err)
	}
	return taken, last, nil
}

// secretAccepted forgets the tries that led to a right code.
func secretAccepted(ctx context.Context, tx *sqldb.Tx, customer uuid.UUID) error {
	_, err := tx.Exec(ctx, "UPDATE customers SET secret_failures = 0, secret_blocked_at = NULL WHERE id = $1", customer)
	if err != nil {
		return fmt.Errorf("forget the tries of a secret code: %w", err)
	}
	return nil
}
