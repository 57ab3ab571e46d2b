-- Roles of a tweetledger book on CockroachDB, printed by: tweetledger roles
--
--   tweetledger_serving    the service and the commands: posts, and changes nothing that was posted
--   tweetledger_reading    reports: reads
--   tweetledger_erasing    "tweetledger approval approve" of an erasure: serves, and erases a customer's data
--   tweetledger_migrating  owns the tables: "tweetledger migrate up" and "tweetledger init"
--
-- Run it as root, or as another user with the role admin, in the book's database, after
-- "tweetledger migrate up" and again after every later one: a new table is only its
-- maker's until then. Running it again grants what is missing, and takes away what is
-- too much. It makes no users; give each person and process one, and one of the roles:
--
--   CREATE USER ledger_service WITH PASSWORD '…';
--   GRANT tweetledger_serving TO ledger_service;
--
-- CockroachDB 22.1 grants tables, not columns: where the script for PostgreSQL lets the
-- serving role change the status of an account, this one lets it change the account.

CREATE ROLE IF NOT EXISTS tweetledger_serving;
CREATE ROLE IF NOT EXISTS tweetledger_reading;
CREATE ROLE IF NOT EXISTS tweetledger_erasing;
CREATE ROLE IF NOT EXISTS tweetledger_migrating;

BEGIN;

GRANT CONNECT ON DATABASE $BOOK TO tweetledger_serving, tweetledger_reading, tweetledger_erasing;
GRANT CONNECT, CREATE ON DATABASE $BOOK TO tweetledger_migrating;
REVOKE CREATE ON SCHEMA public FROM public;
GRANT USAGE ON SCHEMA public TO tweetledger_serving, tweetledger_reading, tweetledger_erasing;
GRANT USAGE, CREATE ON SCHEMA public TO tweetledger_migrating;

ALTER TABLE account_changes OWNER TO tweetledger_migrating;
ALTER TABLE account_days OWNER TO tweetledger_migrating;
ALTER TABLE account_invitations OWNER TO tweetledger_migrating;
ALTER TABLE accounts OWNER TO tweetledger_migrating;
ALTER TABLE approvals OWNER TO tweetledger_migrating;
ALTER TABLE balances OWNER TO tweetledger_migrating;
ALTER TABLE bank_entries OWNER TO tweetledger_migrating;
ALTER TABLE bank_findings OWNER TO tweetledger_migrating;
ALTER TABLE bank_message_rows OWNER TO tweetledger_migrating;
ALTER TABLE bank_messages OWNER TO tweetledger_migrating;
ALTER TABLE bank_statements OWNER TO tweetledger_migrating;
ALTER TABLE book_settings OWNER TO tweetledger_migrating;
ALTER TABLE break_events OWNER TO tweetledger_migrating;
ALTER TABLE break_proposals OWNER TO tweetledger_migrating;
ALTER TABLE breaks OWNER TO tweetledger_migrating;
ALTER TABLE card_detachments OWNER TO tweetledger_migrating;
ALTER TABLE card_registrations OWNER TO tweetledger_migrating;
ALTER TABLE cards OWNER TO tweetledger_migrating;
ALTER TABLE charge_events OWNER TO tweetledger_migrating;
ALTER TABLE charges OWNER TO tweetledger_migrating;
ALTER TABLE chart_entries OWNER TO tweetledger_migrating;
ALTER TABLE customers OWNER TO tweetledger_migrating;
ALTER TABLE deletions OWNER TO tweetledger_migrating;
ALTER TABLE disputes OWNER TO tweetledger_migrating;
ALTER TABLE donation_statement_lines OWNER TO tweetledger_migrating;
ALTER TABLE donation_statements OWNER TO tweetledger_migrating;
ALTER TABLE enrolment_events OWNER TO tweetledger_migrating;
ALTER TABLE enrolments OWNER TO tweetledger_migrating;
ALTER TABLE gathered_days OWNER TO tweetledger_migrating;
ALTER TABLE goose_db_version OWNER TO tweetledger_migrating;
ALTER TABLE handle_keys OWNER TO tweetledger_migrating;
ALTER TABLE hold_releases OWNER TO tweetledger_migrating;
ALTER TABLE holds OWNER TO tweetledger_migrating;
ALTER TABLE leases OWNER TO tweetledger_migrating;
ALTER TABLE iban_flags OWNER TO tweetledger_migrating;
ALTER TABLE link_invitations OWNER TO tweetledger_migrating;
ALTER TABLE links OWNER TO tweetledger_migrating;
ALTER TABLE messages OWNER TO tweetledger_migrating;
ALTER TABLE one_time_codes OWNER TO tweetledger_migrating;
ALTER TABLE opening_balances OWNER TO tweetledger_migrating;
ALTER TABLE order_events OWNER TO tweetledger_migrating;
ALTER TABLE orders OWNER TO tweetledger_migrating;
ALTER TABLE outbox OWNER TO tweetledger_migrating;
ALTER TABLE page_amounts OWNER TO tweetledger_migrating;
ALTER TABLE page_terms OWNER TO tweetledger_migrating;
ALTER TABLE pages OWNER TO tweetledger_migrating;
ALTER TABLE paid_payees OWNER TO tweetledger_migrating;
ALTER TABLE party_changes OWNER TO tweetledger_migrating;
ALTER TABLE party_events OWNER TO tweetledger_migrating;
ALTER TABLE payee_proposals OWNER TO tweetledger_migrating;
ALTER TABLE payee_terms OWNER TO tweetledger_migrating;
ALTER TABLE payees OWNER TO tweetledger_migrating;
ALTER TABLE payment_reports OWNER TO tweetledger_migrating;
ALTER TABLE payout_batches OWNER TO tweetledger_migrating;
ALTER TABLE payout_events OWNER TO tweetledger_migrating;
ALTER TABLE payout_items OWNER TO tweetledger_migrating;
ALTER TABLE payouts OWNER TO tweetledger_migrating;
ALTER TABLE period_changes OWNER TO tweetledger_migrating;
ALTER TABLE periods OWNER TO tweetledger_migrating;
ALTER TABLE postings OWNER TO tweetledger_migrating;
ALTER TABLE reconciliation_runs OWNER TO tweetledger_migrating;
ALTER TABLE requests OWNER TO tweetledger_migrating;
ALTER TABLE screening_hits OWNER TO tweetledger_migrating;
ALTER TABLE seal_heads OWNER TO tweetledger_migrating;
ALTER TABLE seals OWNER TO tweetledger_migrating;
ALTER TABLE settlement_files OWNER TO tweetledger_migrating;
ALTER TABLE settlement_lines OWNER TO tweetledger_migrating;
ALTER TABLE settlement_payouts OWNER TO tweetledger_migrating;
ALTER TABLE signed_heads OWNER TO tweetledger_migrating;
ALTER TABLE unclaimed_payments OWNER TO tweetledger_migrating;
ALTER TABLE unsealed_pages OWNER TO tweetledger_migrating;
ALTER VIEW transactions OWNER TO tweetledger_migrating;

REVOKE ALL ON * FROM public, tweetledger_serving, tweetledger_reading, tweetledger_erasing;
GRANT SELECT ON * TO tweetledger_serving, tweetledger_reading;

-- What is only added to: what was posted, the seal on it, and every trace of who did what.
GRANT INSERT ON requests, pages, postings, hold_releases, seals, page_amounts, page_terms, signed_heads, period_changes,
    account_changes, book_settings TO tweetledger_serving;
GRANT INSERT ON party_events, party_changes, payee_terms, order_events, enrolment_events, screening_hits, paid_payees, charge_events TO tweetledger_serving;
GRANT INSERT ON donation_statements, donation_statement_lines TO tweetledger_serving;
GRANT INSERT ON bank_statements, bank_entries, payment_reports, payout_events TO tweetledger_serving;
GRANT INSERT ON break_events TO tweetledger_serving;

-- What follows from it, or has a state. Locking a row (SELECT … FOR UPDATE) takes the right to change it.
GRANT INSERT, UPDATE ON accounts, balances, holds, account_days, seal_heads, periods, chart_entries, leases, payout_items, gathered_days,
    customers, payees, links, link_invitations, enrolments, payee_proposals, messages, orders, outbox, payout_batches, payouts,
    cards, charges, disputes, approvals, unclaimed_payments, account_invitations, card_registrations,
    reconciliation_runs, breaks, break_proposals TO tweetledger_serving;

-- What comes and goes: the sealer's queue, opening balances of a year whose predecessor is opened again, and
-- deletions that wait for their message; the keys by which handles are found that look alike.
GRANT INSERT, DELETE ON unsealed_pages, opening_balances, deletions, handle_keys TO tweetledger_serving;
-- Codes that prove a mobile number are forgotten when nobody counts them any more.
GRANT INSERT, UPDATE, DELETE ON one_time_codes TO tweetledger_serving;
-- Cards that the card processor is to forget are forgotten here once it has.
GRANT INSERT, UPDATE, DELETE ON card_detachments TO tweetledger_serving;
-- Files of the bank and of acquirers leave what was only read on the way; statements, their entries and findings stay.
GRANT INSERT, UPDATE, DELETE ON bank_messages, settlement_files TO tweetledger_serving;
GRANT INSERT, DELETE ON bank_message_rows, settlement_lines TO tweetledger_serving;
GRANT INSERT, UPDATE ON bank_findings, settlement_payouts, iban_flags TO tweetledger_serving;
GRANT DELETE ON links TO tweetledger_serving; -- a customer unlinks an account; the customer's history keeps it

-- Who erases a customer's data: all that the service may, and to take the words out of traces that are
-- only added to otherwise.
GRANT tweetledger_serving TO tweetledger_erasing;
GRANT UPDATE ON party_events, order_events, enrolment_events, charge_events, party_changes, screening_hits, paid_payees TO tweetledger_erasing;

COMMIT;
