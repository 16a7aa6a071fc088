#!/bin/busybox sh
# Process 1 of a guest of `cargo xtask vm`: loads modules, sets links up, runs the programs, powers off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The kernel's console is the first serial line; results go to the second.
exec </dev/null >/dev/ttyS1 2>&1
echo "netmem-vm kernel=$(uname -r)"

while read -r module; do
    insmod "/modules/$module.ko" || echo "netmem-vm problem=insmod $module"
done </vm/modules

# No packet but those of the programs.
for scope in all default; do
    echo 1 >"/proc/sys/net/ipv6/conf/$scope/disable_ipv6"
done
ip link set lo up
. /vm/settings

# For packets across pages, which zero copy takes where these are neighbours.
echo 8 >/proc/sys/vm/nr_hugepages

pair=
if [ -n "$driver" ]; then
    for path in /sys/class/net/*; do
        of=$(readlink "$path/device/driver")
        [ "${of##*/}" = "$driver" ] || continue
        name=${path##*/}
        ip link set "$name" up
        ip link set "$name" promisc on
        pair=$pair${pair:+,}$name
    done
    export NETMEM_CASES_PAIR=$pair
    case $pair in
        *,*) ;;
        *) echo "netmem-vm problem=not two interfaces of $driver: $pair" ;;
    esac
    for name in $(echo "$pair" | tr , ' '); do
        seconds=0
        until [ "$(cat "/sys/class/net/$name/carrier")" = 1 ]; do
            seconds=$((seconds + 1))
            if [ $seconds -gt 60 ]; then
                echo "netmem-vm problem=no carrier on $name"
                break
            fi
            sleep 1
        done
    done
fi

while read -r program; do
    echo "netmem-vm start=$program"
    "/vm/$program.program" "$@"
    code=$?
    # What a program that died left unfinished does not hide the next line.
    echo
    echo "netmem-vm exit=$code"
done </vm/programs

if [ -f /vm/record ]; then
    sh /vm/record /tmp/recorded
    echo "record: begin"
    tar -C /tmp/recorded -c . | gzip | base64
    echo "record: end"
fi
sync
poweroff -f
