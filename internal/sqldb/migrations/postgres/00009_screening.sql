-- Screening of orders and of what goes out, invitations to link an account, and
-- sendings whose outcome nobody knows.
-- +goose Up

-- What screening decided on what a message asked for; 'none' where it asked for
-- nothing. NULL: not handled yet, or handled before there was screening.
ALTER TABLE messages ADD COLUMN decision text CHECK (decision IN ('accept', 'review', 'reject', 'none'));

ALTER TABLE outbox ADD COLUMN text_hash bytea CHECK (length(text_hash) = 32); -- keyed; of a notice once it was written
ALTER TABLE outbox ADD COLUMN decision text CHECK (decision IN ('accept', 'reject'));
-- 1: an attempt began whose outcome is not known; it may have been sent.
ALTER TABLE outbox ADD COLUMN in_doubt int8 NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1));

-- The rules of screening that an order met. An order that met none has no row.
CREATE TABLE screening_hits (
    order_id uuid        NOT NULL REFERENCES orders (id),
    rule     text        NOT NULL CHECK (length(rule) BETWEEN 1 AND 32),
    verdict  text        NOT NULL CHECK (verdict IN ('review', 'reject')),
    detail   text        NOT NULL, -- what was measured, for staff
    at       timestamptz NOT NULL,
    PRIMARY KEY (order_id, rule)
);

-- What a payer has on the way or paid, newest first: velocity is read from here alone.
CREATE INDEX orders_counted ON orders (payer_id, created_at) INCLUDE (amount, payee_user_id)
    WHERE state IN ('received', 'awaiting_payee', 'under_review', 'awaiting_confirmation', 'posted');
DROP INDEX orders_to_expire;
CREATE INDEX orders_to_expire ON orders (expires_at) WHERE state IN ('awaiting_payee', 'under_review', 'awaiting_confirmation');

-- Whom a payer has paid before.
CREATE TABLE paid_payees (
    payer_id      uuid NOT NULL REFERENCES customers (id),
    channel       text NOT NULL,
    payee_user_id text NOT NULL,
    PRIMARY KEY (payer_id, channel, payee_user_id)
);
INSERT INTO paid_payees (payer_id, channel, payee_user_id)
    SELECT DISTINCT payer_id, channel, payee_user_id FROM orders WHERE state = 'posted';

-- Under which keys the handles of payees are found that look like another one.
CREATE TABLE handle_keys (
    channel text NOT NULL,
    key     text NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (channel, key, user_id),
    FOREIGN KEY (channel, user_id) REFERENCES links (channel, user_id)
);
CREATE INDEX handle_keys_of_user ON handle_keys (user_id, channel);

-- Addresses under which a customer links an account, and the one visit to the
-- channel's own page that is under way from there. All secrets are hashed.
CREATE TABLE link_invitations (
    id               uuid PRIMARY KEY,
    customer_id      uuid NOT NULL REFERENCES customers (id),
    token_hash       bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    actor            text NOT NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    closed_at        timestamptz, -- NULL: may be used
    state_hash       bytea CHECK (length(state_hash) = 32),
    browser_hash     bytea CHECK (length(browser_hash) = 32),
    state_expires_at timestamptz,
    CONSTRAINT invitation_state CHECK ((state_hash IS NULL) = (browser_hash IS NULL) AND (state_hash IS NULL) = (state_expires_at IS NULL)),
    CONSTRAINT invitation_closed CHECK (closed_at IS NULL OR state_hash IS NULL)
);
CREATE UNIQUE INDEX link_invitations_by_state ON link_invitations (state_hash) WHERE state_hash IS NOT NULL;
CREATE UNIQUE INDEX link_invitations_one_open ON link_invitations (customer_id) WHERE closed_at IS NULL;

-- +goose Down
DROP TABLE link_invitations;
DROP TABLE handle_keys;
DROP TABLE paid_payees;
DROP INDEX orders_to_expire;
CREATE INDEX orders_to_expire ON orders (expires_at) WHERE state IN ('awaiting_payee', 'awaiting_confirmation');
DROP INDEX orders_counted;
DROP TABLE screening_hits;
ALTER TABLE outbox DROP COLUMN in_doubt;
ALTER TABLE outbox DROP COLUMN decision;
ALTER TABLE outbox DROP COLUMN text_hash;
ALTER TABLE messages DROP COLUMN decision;
