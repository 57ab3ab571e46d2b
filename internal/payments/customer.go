package payments

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Customer is a person with a wallet.
type Customer struct {
	ID     uuid.UUID
	Number string // "c-000017"
	Name   string
	Phone  string // E.164
	// PhoneVerifiedAt is when the number was last proven to be the customer's, by a
	// one-time code or to staff who enrolled the customer. Zero: staff have changed the
	// number since; until it is proven the customer cannot pay.
	PhoneVerifiedAt time.Time
	Status          Status
	WalletID        uuid.UUID // account in the ledger, code WalletCode(Number)
	// HasSecret is whether a secret code was ever set; SecretBlockedAt is when too
	// many wrong ones blocked it, or zero.
	HasSecret       bool
	SecretFailures  int
	SecretBlockedAt time.Time
	// Named is whether charities may see the name.
	Named     bool
	CreatedAt time.Time
	// ErasedAt is when everything personal was erased; zero: it was not.
	ErasedAt time.Time

	serial        int64
	secretHash    string
	pseudonymSalt []byte
}

// NewCustomer is what is known of a person who becomes a customer.
type NewCustomer struct {
	// Number is chosen by the service where it is empty. To enrol a number again
	// with the same name and phone changes nothing.
	Number string
	Name   string // 1 to 120 characters
	Phone  string // E.164, with one of Config.PhonePrefixes
	Named  bool   // consents to be named to charities
}

// WalletCode returns the code of a customer's wallet in the ledger.
func WalletCode(customerNumber string) string { return "wallet:" + customerNumber }

const customerColumns = `id, serial, number, name, phone, status, wallet_id, COALESCE(secret_hash, ''), secret_failures,
	secret_blocked_at, named, pseudonym_salt, created_at, phone_verified_at, erased_at`

func scanCustomer(rows *sqldb.Rows) (Customer, error) {
	var c Customer
	var named int64
	err := rows.Scan(&c.ID, &c.serial, &c.Number, &c.Name, &c.Phone, &c.Status, &c.WalletID, &c.secretHash, &c.SecretFailures,
		&c.SecretBlockedAt, &named, &c.pseudonymSalt, &c.CreatedAt, &c.PhoneVerifiedAt, &c.ErasedAt)
	c.Named, c.HasSecret = named != 0, c.secretHash != ""
	return c, err
}

var customerNumberPattern = regexp.MustCompile(`^c-(0[0-9]{5}|[1-9][0-9]{5,11})$`)

// EnrolCustomer makes a customer and opens the wallet, for staff who have made sure of
// the telephone number. The number of somebody else, and the telephone number of
// another customer who is not closed, are CodeConflict.
func (s *Service) EnrolCustomer(ctx context.Context, n NewCustomer) (Customer, error) {
	if err := validText("name", n.Name, maxName); err != nil {
		return Customer{}, err
	}
	if err := s.validPhone(n.Phone); err != nil {
		return Customer{}, err
	}
	if n.Number != "" && !customerNumberPattern.MatchString(n.Number) {
		return Customer{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a customer number; write it like c-000017", clip(n.Number)).InField("number")
	}
	c := Customer{Name: n.Name, Phone: n.Phone, Named: n.Named, Status: Open, pseudonymSalt: make([]byte, 32)}
	c.CreatedAt = s.engine.Now()
	c.PhoneVerifiedAt = c.CreatedAt
	var err error
	if c.ID, err = s.newID(); err != nil {
		return Customer{}, err
	}
	if _, err := io.ReadFull(s.random, c.pseudonymSalt); err != nil {
		return Customer{}, fmt.Errorf("make a pseudonym's salt: %w", err)
	}
	var enrolled Customer
	err = s.writeUnique(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		enrolled, err = s.enrolCustomer(ctx, tx, n.Number, c)
		return err
	})
	if err != nil {
		return Customer{}, fmt.Errorf("enrol customer: %w", err)
	}
	return enrolled, nil
}

func (s *Service) enrolCustomer(ctx context.Context, tx *sqldb.Tx, number string, c Customer) (Customer, error) {
	if number == "" {
		if before, err := FindCustomerByID(ctx, tx, c.ID); err == nil || ledger.CodeOf(err) != ledger.CodeNotFound {
			return before, err // an earlier run of this function was committed after all
		}
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(serial), 0) + 1 FROM customers", nil, &c.serial); err != nil {
			return Customer{}, fmt.Errorf("next number: %w", err)
		}
		number = fmt.Sprintf("c-%06d", c.serial)
	} else {
		before, err := FindCustomer(ctx, tx, number)
		switch {
		case err == nil && before.Name == c.Name && before.Phone == c.Phone:
			return before, nil
		case err == nil:
			return Customer{}, ledger.Errorf(ledger.CodeConflict, "%s is the number of another customer; choose another or leave it out", number).InField("number")
		case ledger.CodeOf(err) != ledger.CodeNotFound:
			return Customer{}, err
		}
		if c.serial, err = strconv.ParseInt(strings.TrimPrefix(number, "c-"), 10, 64); err != nil || c.serial == 0 {
			return Customer{}, ledger.Errorf(ledger.CodeInvalid, "%q is not a customer number; write it like c-000017", number).InField("number")
		}
	}
	if known, err := knownPhone(ctx, tx, c.Phone, uuid.Nil); err != nil || known {
		return Customer{}, firstError(err, errPhoneTaken(known))
	}
	c.Number = number
	floor, ceiling := ledger.Amount(0), s.config.WalletCeiling
	wallet, err := s.engine.OpenAccountTx(ctx, tx, ledger.Account{
		ID: ledger.SystemAccountID(WalletCode(number)), Code: WalletCode(number), Name: "Wallet " + number, Category: ledger.CustomerEMoney,
		Side: ledger.Credit, Currency: s.config.Currency, Min: &floor, Max: &ceiling, Shards: 1, OpenedAt: c.CreatedAt,
	})
	if err != nil {
		return Customer{}, fmt.Errorf("open the wallet: %w", err)
	}
	c.WalletID = wallet.ID
	_, err = tx.Exec(ctx, `INSERT INTO customers (id, serial, number, name, phone, status, wallet_id, named, pseudonym_salt, created_at, phone_verified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		c.ID, c.serial, c.Number, c.Name, c.Phone, string(c.Status), c.WalletID, sqldb.Flag(c.Named), c.pseudonymSalt, c.CreatedAt, c.PhoneVerifiedAt)
	if err != nil {
		return Customer{}, fmt.Errorf("store the customer: %w", err)
	}
	return c, nil
}

func errPhoneTaken(known bool) error {
	if !known {
		return nil
	}
	return ledger.Errorf(ledger.CodeConflict, "this number is another customer's; a telephone belongs to one customer").InField("phone")
}

// FindCustomer returns the customer with the given number, or CodeNotFound.
func FindCustomer(ctx context.Context, tx *sqldb.Tx, number string) (Customer, error) {
	return oneCustomer(ctx, tx, "number = $1", number, number)
}

// FindCustomerByID returns the customer with the given id, or CodeNotFound.
func FindCustomerByID(ctx context.Context, tx *sqldb.Tx, id uuid.UUID) (Customer, error) {
	return oneCustomer(ctx, tx, "id = $1", id, id.String())
}

func oneCustomer(ctx context.Context, tx *sqldb.Tx, where string, arg any, name string) (Customer, error) {
	var found []Customer
	err := tx.Each(ctx, "SELECT "+customerColumns+" FROM customers WHERE "+where, []any{arg}, func(rows *sqldb.Rows) error {
		c, err := scanCustomer(rows)
		found = append(found, c)
		return err
	})
	if err != nil {
		return Customer{}, fmt.Errorf("find customer %s: %w", clip(name), err)
	}
	if len(found) == 0 {
		return Customer{}, ledger.Errorf(ledger.CodeNotFound, "there is no customer %s", clip(name)).InField("customer")
	}
	return found[0], nil
}

// CustomerFilter selects a page of customers, in order of enrolment numbers.
type CustomerFilter struct {
	AfterNumber string // empty: from the first
	Limit       int    // 1 to MaxPage
}

// ListCustomers returns a page of customers.
func ListCustomers(ctx context.Context, tx *sqldb.Tx, f CustomerFilter) ([]Customer, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	after := int64(0)
	if f.AfterNumber != "" {
		serial, err := strconv.ParseInt(strings.TrimPrefix(f.AfterNumber, "c-"), 10, 64)
		if err != nil {
			return nil, ledger.Errorf(ledger.CodeInvalid, "%q is not a customer number; write it like c-000017", clip(f.AfterNumber)).InField("after")
		}
		after = serial
	}
	var list []Customer
	err := tx.Each(ctx, fmt.Sprintf("SELECT %s FROM customers WHERE serial > $1 ORDER BY serial LIMIT %d", customerColumns, f.Limit),
		[]any{after}, func(rows *sqldb.Rows) error {
			c, err := scanCustomer(rows)
			list = append(list, c)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list customers: %w", err)
	}
	return list, nil
}

// Customer returns the customer with the given number, or CodeNotFound.
func (s *Service) Customer(ctx context.Context, number string) (Customer, error) {
	var c Customer
	err := s.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		c, err = FindCustomer(ctx, tx, number)
		return err
	})
	return c, err
}

// SetCustomerStatus blocks a customer or lifts that, for a reason. What is
// closed stays closed: CodeConflict.
func (s *Service) SetCustomerStatus(ctx context.Context, number string, status Status, actor, reason string) error {
	if err := validAct(actor, reason); err != nil {
		return err
	}
	if status != Open && status != Blocked && status != Closed {
		return ledger.Errorf(ledger.CodeInvalid, "%q is not a status; use open, blocked or closed", clip(string(status))).InField("status")
	}
	now := s.engine.Now()
	return s.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		c, err := FindCustomer(ctx, tx, number)
		if err != nil {
			return err
		}
		if c.Status == status {
			return nil
		}
		if err := mayBecome(c.Status, c.Number); err != nil {
			return err
		}
		if status == Closed {
			if err := s.mustBeEmpty(ctx, tx, c.WalletID, c.Number); err != nil {
				return err
			}
			if err := mustHaveNothingUnclaimed(ctx, tx, c); err != nil {
				return err
			}
			if bank, err := FindPayee(ctx, tx, OwnBankCode(c.Number)); err == nil {
				err = nothingOnItsWay(ctx, tx, bank)
				if err != nil {
					return err
				}
			} else if ledger.CodeOf(err) != ledger.CodeNotFound {
				return err
			}
			if err := endCodes(ctx, tx, c.ID, now); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE customers SET status = $1 WHERE id = $2", string(status), c.ID); err != nil {
			return fmt.Errorf("set the status of customer %s: %w", number, err)
		}
		return recordPartyEvent(ctx, tx, c.ID, PartyEvent{At: now, Actor: actor, Event: string(status), Reason: reason})
	})
}

func mayBecome(now Status, name string) error {
	if now == Closed {
		return ledger.Errorf(ledger.CodeConflict, "%s is closed for ever; enrol anew", name).InField("status")
	}
	return nil
}
