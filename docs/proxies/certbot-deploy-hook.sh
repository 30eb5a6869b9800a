#!/bin/sh
# Certbot's deploy hook for gptproxy: /etc/letsencrypt/renewal-hooks/deploy/gptproxy, executable. Certbot runs it after each
# renewal; gptproxy takes the new certificate without a restart, connections that run keep what they began with.
#
# The first time, port 443 being gptproxy's own:
#   certbot certonly --standalone --http-01-port 80 --domain gpt.example.com
#   RENEWED_LINEAGE=/etc/letsencrypt/live/gpt.example.com /etc/letsencrypt/renewal-hooks/deploy/gptproxy
set -eu

domain=gpt.example.com
etc=/etc/gptproxy

# Another certificate of this machine was renewed.
[ "$RENEWED_LINEAGE" = "/etc/letsencrypt/live/$domain" ] || exit 0

# Beside first, then in one step each. Between the two, nothing reads them: gptproxy does at the reload alone, and where key and
# certificate do not belong together it keeps the old ones, and says so in its journal.
install -m 0640 -o root -g gptproxy "$RENEWED_LINEAGE/privkey.pem" "$etc/key.pem.new"
install -m 0644 -o root -g gptproxy "$RENEWED_LINEAGE/fullchain.pem" "$etc/cert.pem.new"
mv "$etc/key.pem.new" "$etc/key.pem"
mv "$etc/cert.pem.new" "$etc/cert.pem"

# Workers that share the port (gptproxy@1.service ...), where there are any.
systemctl try-reload-or-restart 'gptproxy.service' 'gptproxy@*.service'
