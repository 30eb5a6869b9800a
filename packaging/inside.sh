#!/bin/bash
# What test-deb.sh does inside the machine: prints a line for each thing that was tried, and ends with 1 where one failed.
set -u
cd /
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
failed=0

ok() { echo "ok    $*"; }
bad() { echo "FAILED $*"; failed=1; }
# try WHAT COMMAND...
try() {
    local what=$1
    shift
    if "$@" >/tmp/said 2>&1; then ok "$what"; else bad "$what"; tail -n 15 /tmp/said | sed 's/^/        /'; fi
}
ask() { curl --silent --show-error --max-time 30 --cacert /etc/gptproxy/cert.pem "$@"; }
chat() {
    ask https://localhost/v1/chat/completions -H 'Authorization: Bearer glpat-sandbox-alice' \
        -H 'Content-Type: application/json' -d "$1" "${@:2}"
}
pid() { systemctl show --property MainPID --value gptproxy.service; }
# until SECONDS COMMAND...
until_so() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}
mode() { [ "$(stat -c '%a %U:%G' "$1")" = "$2" ]; }
says() {
    local words
    words=$("${@:2}" 2>&1)
    grep -q "$1" <<<"$words" || { echo "$words"; return 1; }
}
load() { python3 /mnt/load.py "$@" >/tmp/load.json; }
# loaded WHAT LIMIT: the figures, and whether nothing failed and the worst wait is within the limit
loaded() {
    local figures
    figures=$(cat /tmp/load.json)
    if python3 -c 'import json, sys; f = json.load(open("/tmp/load.json")); sys.exit(f["failed"] > 0 or f["worst_seconds"] > float(sys.argv[1]))' "$2"
    then ok "$1: $figures"; else bad "$1: $figures (worst allowed: $2 s)"; fi
}

try "apt install" dpkg -i /mnt/gptproxy.deb
try "the service is active" until_so 20 systemctl is-active gptproxy.service
try "the socket is active and enabled" systemctl is-active gptproxy.socket
try "nothing failed" says '^$' systemctl --failed --no-legend
try "the plugin is in the cache" sh -c 'twistd3 --help | grep -q gptproxy'
try "configuration 0640 root:gptproxy" mode /etc/gptproxy/gptproxy.toml '640 root:gptproxy'
try "key 0640 root:gptproxy" mode /etc/gptproxy/key.pem '640 root:gptproxy'
try "folder 0750 root:gptproxy" mode /etc/gptproxy '750 root:gptproxy'
try "state 0750 gptproxy:gptproxy" mode /var/lib/gptproxy '750 gptproxy:gptproxy'
try "the journal says which line to fill" says 'gptproxy.toml, line [0-9]*: an \[\[upstream\]\]' \
    journalctl -u gptproxy --no-pager
try "so does /" says 'gptproxy.toml, line' ask https://localhost/
exposure=$(systemd-analyze security --no-pager gptproxy.service | sed -n 's/.*level for gptproxy.service: \([0-9.]*\).*/\1/p')
if python3 -c "import sys; sys.exit(not float('$exposure') <= 1.5)"; then ok "exposure, live: $exposure"
else bad "exposure, live: $exposure"; fi
try "systemd-analyze verify" says '^$' systemd-analyze verify gptproxy.service gptproxy.socket
try "only 443 is open" says '^443$' sh -c 'ss -Hltn | sed "s/.*:\([0-9]*\) .*/\1/" | sort -u'

# The stand-ins for GitLab and Azure; the key by a credential.
mkfifo /run/sandbox.in
sleep infinity >/run/sandbox.in &
keep=$!
python3 -m gptproxy.sandbox --until-stdin-closes </run/sandbox.in >/run/sandbox.json 2>/run/sandbox.log &
until_so 20 test -s /run/sandbox.json
address() { python3 -c 'import json, sys; print(json.load(open("/run/sandbox.json"))[sys.argv[1]])' "$1"; }
printf '%s\n' "$(address gitlab)" 1 "$(address azure)" azure-key-primary gpt-4o gpt-3.5-turbo=gpt-35-turbo '' |
    gptproxy setup >/tmp/setup 2>&1
if grep -q '^curl' /tmp/setup; then ok "gptproxy setup"; else bad "gptproxy setup"; cat /tmp/setup; fi
try "setup kept the mode" mode /etc/gptproxy/gptproxy.toml '640 root:gptproxy'
install -m 0700 -d /etc/credstore
echo azure-key-primary >/etc/credstore/gptproxy.azure
chmod 0600 /etc/credstore/gptproxy.azure
sed -i 's/^api_key = .*/api_key = {credential = "gptproxy.azure"}/' /etc/gptproxy/gptproxy.toml
try "restart with the configuration" systemctl restart gptproxy.service
question='{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}'
try "a chat over TLS, the key by a credential" says '"content"' chat "$question"
try "a stream" says 'data: \[DONE\]' chat "${question%\}}, \"stream\": true}" --no-buffer
try "the page is gone" says unknown_url ask https://localhost/
# Encrypted for this machine; and what the commands beside the service see of it.
install -m 0700 -d /etc/credstore.encrypted
try "a credential is encrypted" systemd-creds encrypt --with-key=host /etc/credstore/gptproxy.azure \
    /etc/credstore.encrypted/gptproxy.azure
rm -f /etc/credstore/gptproxy.azure
systemctl restart gptproxy.service
try "  a chat, the key by it" says '"content"' chat "$question"
try "  check beside the service has it" says '^0 errors' gptproxy check --online
try "  so it has as the service's user" says '^0 errors' \
    setpriv --reuid gptproxy --regid gptproxy --clear-groups gptproxy check --online
chmod 0644 /etc/gptproxy/key.pem
try "check tells of a key that everybody can read" says '^error .*key.pem' gptproxy check
chmod 0640 /etc/gptproxy/key.pem

# The journal's own fields.
sed -i 's/^#format = .*/format = "journal"/' /etc/gptproxy/gptproxy.toml
systemctl restart gptproxy.service
try "a chat, logged to the journal" says '"content"' chat "$question"
fields() { journalctl -t gptproxy -o json --no-pager "$@"; }
entry() {
    fields GPTPROXY_CALLER=alice GPTPROXY_STATUS=200 | python3 -c 'import json, sys
found = [json.loads(line) for line in sys.stdin]
last = found[-1]
assert last["_SYSTEMD_UNIT"] == "gptproxy.service" and last["PRIORITY"] == "6", last
assert last["GPTPROXY_MODEL"] == "gpt-4o" and last["GPTPROXY_UPSTREAM"] == "primary", last
assert int(last["GPTPROXY_TOKENS_OUT"]) > 0 and float(last["GPTPROXY_SECONDS"]) > 0.0, last
assert last["MESSAGE"] and last["GPTPROXY_REQUEST_ID"] in last["MESSAGE"], last'
}
try "  its fields" until_so 5 entry
try "  and no key in it" says '^0$' sh -c 'journalctl -o json --no-pager | grep -c "azure-key-primary\|glpat-sandbox" || true'
sed -i 's/^format = "journal"/#format = "text"/' /etc/gptproxy/gptproxy.toml
systemctl restart gptproxy.service

# A new certificate by a reload.
before=$(openssl x509 -in /etc/gptproxy/cert.pem -noout -fingerprint)
served() { openssl s_client -connect localhost:443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint; }
process=$(pid)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout /tmp/new.key -out /tmp/new.pem 2>/dev/null
cat /tmp/new.key >/etc/gptproxy/key.pem
cp /etc/gptproxy/cert.pem /tmp/old.pem
try "reload with a key that does not fit" systemctl reload gptproxy.service
sleep 1
try "  changes nothing" test "$(served)" = "$before"
try "  and is told" says 'not reloaded' journalctl -u gptproxy --no-pager
cat /tmp/new.pem >/etc/gptproxy/cert.pem
systemctl reload gptproxy.service
try "reload with a changed certificate" until_so 5 sh -c \
    "test \"\$(openssl s_client -connect localhost:443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint)\" != '$before'"
try "  in the same process" test "$(pid)" = "$process"
try "  active again" until_so 5 systemctl is-active gptproxy.service

# Certbot's hook.
live=/etc/letsencrypt/live/gpt.example.com
mkdir -p $live
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout $live/privkey.pem -out $live/fullchain.pem 2>/dev/null
hook() { RENEWED_LINEAGE=$1 sh /usr/share/doc/gptproxy/proxies/certbot-deploy-hook.sh; }
try "certbot's hook, for another certificate" hook /etc/letsencrypt/live/other.example.com
try "certbot's hook" hook $live
renewed() { [ "$(served)" = "$(openssl x509 -in $live/fullchain.pem -noout -fingerprint)" ]; }
try "  the renewed certificate is served" until_so 5 renewed
try "  by the same process" test "$(pid)" = "$process"
try "  its key is 0640 root:gptproxy" mode /etc/gptproxy/key.pem '640 root:gptproxy'

# Restarts under load.
for round in 1 2 3 4 5; do
    load 5 & loading=$!
    sleep 1
    systemctl restart gptproxy.service
    wait $loading
    loaded "restart over the socket unit, $round of 5" 1.0
done
load 5 & loading=$!
sleep 1
kill -9 "$(pid)"
wait $loading
# What it had in hand is lost with it, and nothing else.
echo "      kill -9 under load: $(cat /tmp/load.json)"
try "back after kill -9" until_so 10 systemctl is-active gptproxy.service

# A loop that hangs is ended and started anew.
mkdir -p /run/systemd/system/gptproxy.service.d
printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/gptproxy.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart gptproxy.service
process=$(pid)
kill -STOP "$process"
hung() { [ "$(pid)" != "$process" ] && [ "$(pid)" != 0 ] && systemctl is-active gptproxy.service; }
try "watchdog after SIGSTOP" until_so 20 hung
try "  told in the journal" says 'Watchdog timeout' journalctl -u gptproxy --no-pager
rm -r /run/systemd/system/gptproxy.service.d
systemctl daemon-reload
systemctl restart gptproxy.service

# Many streams, slow ones, while the service restarts: a single process, several with a parent, and two that share the port.
slow() {
    curl --silent --show-error --fail --max-time 10 -H 'content-type: application/json' \
        -d '[{"role": "azure", "fault": "slow_events", "times": null, "delay_seconds": 0.5}]' "$(address gitlab)/sandbox/faults" >/dev/null ||
        bad "the stand-ins cannot be slowed down"
}
quick() { curl --silent --request DELETE "$(address gitlab)/sandbox/faults" >/dev/null; }
# under_streams COMMAND...: runs it while 200 streams run; streams.json and load.json are what became of both
under_streams() {
    slow
    rm -f /tmp/started
    # Read to their ends: the last ones begin long after it has returned.
    python3 /mnt/streams.py 30 200 /tmp/started >/tmp/streams.json &
    local streaming=$!
    until_so 25 test -e /tmp/started || bad "200 streams do not start: $(cat /tmp/streams.json)"
    load 28 & local loading=$!
    sleep 1
    local began
    began=$(date +%s.%N)
    "$@"
    took=$(python3 -c "print(round($(date +%s.%N) - $began, 1))")
    wait $loading
    wait $streaming
    quick
}
whole() { python3 -c 'import json; f = json.load(open("/tmp/streams.json")); raise SystemExit(f["failed"] > 0 or f["whole"] < 200)'; }
# streamed WHAT: whether none was cut
streamed() {
    if whole; then ok "$1: $(cat /tmp/streams.json)"; else bad "$1: $(cat /tmp/streams.json)"; fi
}
under_streams systemctl restart gptproxy.service
echo "      a single process, restarted under 200 streams in $took s: $(cat /tmp/load.json)"
streamed "  its streams"
cp /etc/gptproxy/gptproxy.toml /tmp/single.toml
sed -i 's/^#workers = .*/workers = 2/' /etc/gptproxy/gptproxy.toml
try "a parent with two workers" systemctl restart gptproxy.service
try "  which serve" says '"content"' chat "$question"
under_streams systemctl restart gptproxy.service
echo "      a parent with two workers, restarted under 200 streams in $took s: $(cat /tmp/load.json)"
streamed "  its streams"
cat /tmp/single.toml >/etc/gptproxy/gptproxy.toml
printf '[admin]\nlisten = "unix:/run/gptproxy/admin"\n' >>/etc/gptproxy/gptproxy.toml
try "two workers that share the port" systemctl start gptproxy@1.service gptproxy@2.service
systemctl disable --quiet --now gptproxy.service
try "  each has its own admin listener" says '"' sh -c \
    'curl -sf --unix-socket /run/gptproxy-1/admin http://l/status && curl -sf --unix-socket /run/gptproxy-2/admin http://l/status'
roll() { systemctl restart gptproxy@1.service && systemctl restart gptproxy@2.service; }
for round in 1 2 3; do
    under_streams roll
    loaded "two workers, restarted one after the other under 200 streams in $took s, $round of 3" 0.4
    streamed "  their streams"
done
upgrade() { dpkg -i /mnt/gptproxy-later.deb >/dev/null 2>&1; }
since() { systemctl show --property "${2:-ActiveEnterTimestampMonotonic}" --value "$1"; }
opened=$(since gptproxy.socket)
starts="$(since gptproxy@1.service) $(since gptproxy@2.service)"
under_streams upgrade
loaded "  upgraded under 200 streams in $took s" 0.4
streamed "  their streams"
try "  the new version runs" says '+later' dpkg-query -W gptproxy
try "  one began after the other was ready" python3 -c 'import sys
before = [int(each) for each in sys.argv[1].split()]
ready = [int(each) for each in sys.argv[3:]]
assert before[0] < ready[0] < int(sys.argv[2]) < ready[1]' \
    "$starts" "$(since gptproxy@2.service InactiveExitTimestampMonotonic)" \
    "$(since gptproxy@1.service)" "$(since gptproxy@2.service)"
try "  the socket stayed open" test "$(since gptproxy.socket)" = "$opened"
try "  nobody started the single process" says '^inactive$' sh -c 'systemctl is-active gptproxy.service || true'
systemctl enable --quiet --now gptproxy.service
systemctl stop 'gptproxy@*.service'
cat /tmp/single.toml >/etc/gptproxy/gptproxy.toml
dpkg -i /mnt/gptproxy.deb >/dev/null 2>&1
systemctl restart gptproxy.service

# An upgrade of the single process while a stream runs.
# upgraded WHAT PACKAGE
upgraded() {
    slow
    load 10 & local loading=$!
    {
        chat "${question%\}}, \"stream\": true}" --no-buffer --max-time 90 >/tmp/stream 2>&1
        date +%s.%N >/tmp/stream-ended
    } & local streaming=$!
    sleep 1
    cp /etc/gptproxy/gptproxy.toml /tmp/before.toml
    local opened began rest
    opened=$(since gptproxy.socket)
    began=$(date +%s.%N)
    try "$1" dpkg -i "$2"
    wait $loading
    wait $streaming
    quick
    # A single process ends what runs before the next one begins: new calls wait as long as the stream does, and a restart.
    rest=$(python3 -c 'import sys; print(round(max(0.0, float(sys.argv[1]) - float(sys.argv[2])), 3))' \
        "$(cat /tmp/stream-ended)" "$began")
    loaded "  calls during the upgrade, the stream took $rest s more" "$(python3 -c "print($rest + 1.0)")"
    try "  the stream is whole" says 'data: \[DONE\]' cat /tmp/stream
    try "  the socket stayed open" test "$(since gptproxy.socket)" = "$opened"
    try "  the configuration is the administrator's" cmp /etc/gptproxy/gptproxy.toml /tmp/before.toml
    try "  the new version runs" says "$(dpkg-deb -f "$2" Version)" dpkg-query -W gptproxy
    try "  active" until_so 20 systemctl is-active gptproxy.service
    try "  and answers" says '"content"' chat "$question"
}
if [ -e /mnt/gptproxy-older.deb ]; then
    try "the older package" dpkg -i --force-downgrade /mnt/gptproxy-older.deb
    try "  runs" until_so 20 systemctl is-active gptproxy.service
    upgraded "upgrade from $(dpkg-deb -f /mnt/gptproxy-older.deb Version)" /mnt/gptproxy.deb
fi
for round in 1 2 3; do
    dpkg -i --force-downgrade /mnt/gptproxy.deb >/dev/null 2>&1
    upgraded "upgrade under load, $round of 3" /mnt/gptproxy-later.deb
done

# A full disk where it keeps its data.
systemctl stop gptproxy.service gptproxy.socket
mount -t tmpfs -o size=1m,mode=0750,uid="$(id -u gptproxy)",gid="$(id -g gptproxy)" tmpfs /var/lib/gptproxy
systemctl start gptproxy.socket gptproxy.service
fill() { dd if=/dev/zero of=/var/lib/gptproxy/full bs=4k count=400 >/dev/null 2>&1; }
fill
try "a chat while the disk becomes full" says '"content"' chat "$question"
rm /var/lib/gptproxy/full
systemctl restart gptproxy.service
systemctl stop gptproxy.service
fill
try "the service starts on a full disk" systemctl start gptproxy.service
try "  and a chat goes through" says '"content"' chat "$question"
systemctl stop gptproxy.service
rm -f /var/lib/gptproxy/objects.db*
fill
try "the service starts where it cannot make its files" systemctl start gptproxy.service
try "  and a chat goes through" says '"content"' chat "$question"
systemctl stop gptproxy.service gptproxy.socket
umount /var/lib/gptproxy

# Without the socket unit: the same command line.
systemctl disable --quiet --now gptproxy.socket
systemctl start gptproxy.service
try "without the socket unit" says '"content"' chat "$question"
systemctl enable --quiet gptproxy.socket

journalctl -u gptproxy.service -u gptproxy.socket --no-pager -o short-monotonic | grep -v 'Site\|GET /models' >/tmp/journal
try "remove" dpkg -r gptproxy
try "  stops it" says '^inactive$' sh -c 'systemctl is-active gptproxy.service || true'
try "  keeps the configuration" test -e /etc/gptproxy/gptproxy.toml
try "  leaves the plugin's cache clean" says '^0$' sh -c 'twistd3 --help | grep -c gptproxy || true'
try "purge" dpkg -P gptproxy
try "  leaves the certificate that the administrator put there" test -e /etc/gptproxy/key.pem
rm -f /etc/gptproxy/key.pem /etc/gptproxy/cert.pem
rmdir /etc/gptproxy 2>/dev/null
try "  and nothing else" says '^$' sh -c \
    'find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /mnt -o -path /var/log \) -prune -o \
    -name "*gptproxy*" -print | grep -v "^/etc/credstore"'
try "install once more" dpkg -i /mnt/gptproxy.deb
try "  active" until_so 20 systemctl is-active gptproxy.service
try "purge at once" dpkg -P gptproxy
try "  leaves nothing" test ! -e /etc/gptproxy -a ! -e /var/lib/gptproxy
kill $keep
[ $failed = 0 ] || { echo "--- the journal"; cat /tmp/journal; } | tail -n 80
exit $failed
