window.YTD.tweets.part1 = [ {
  "tweet" : {
    "id_str" : "521939100000000010",
    "in_reply_to_status_id_str" : "521939100000000009",
    "in_reply_to_status_id" : "521939100000000009",
    "created_at" : "Wed Oct 15 12:06:00 +0200 2014",
    "entities" : { "user_mentions" : [ { "screen_name" : "SmoneyFR", "id_str" : "700000001" }, { "screen_name" : "yoann_test", "id_str" : "700000102" } ] },
    "full_text" : "@SmoneyFR pour tout ce que tu as fait pendant le voyage, et pour le reste aussi… https://t.co/abcdefghij",
    "lang" : "fr"
  }
}, {
  "tweet" : {
    "id_str" : "521939100000000011",
    "created_at" : "Wed Oct 15 10:07:00 +0000 2014",
    "entities" : { "urls" : [ { "url" : "https://t.co/q", "expanded_url" : "https://twitter.com/yoann_test/status/521939100000000003" } ] },
    "full_text" : "Bien vu https://t.co/q",
    "lang" : "fr"
  }
} ]
