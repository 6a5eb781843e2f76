#!/bin/sh
#
# libmilter.sh - a copy of libmilter.a whose way to the network is ours.
#
# usage: libmilter.sh ARCHIVE [COPY]
#
# Left out are its reading and writing (comm.o) and its threads (worker.o);
# milter/sessions.c takes their place, and a few calls of the rest lead there.
# Without COPY it only says, by its exit code, whether the archive is one for
# which that is right.
set -eu

archive=$1
copy=${2-}

# What a member defines, or ("U") needs, in one line.
symbols() {
	nm --quiet "$archive" | awk -v member="$1:" -v kind="$2" '
		/:$/ { inside = $1 == member }
		inside && NF > 1 && $(NF - 1) == kind { print $NF }' |
		sort | tr '\n' ' '
}

needs() {
	for symbol in $2; do
		case " $(symbols "$1" U) " in
		*" $symbol "*) ;;
		*) exit 1 ;;
		esac
	done
}

[ -f "$archive" ]
[ "$(symbols comm.o T)" = "mi_rd_cmd mi_wr_cmd smfi_setmaxdatasize " ]
[ "$(symbols worker.o T)" = "mi_pool_controller_init mi_start_session " ]
needs engine.o "close mi_rd_cmd mi_wr_cmd poll"
needs listener.o "accept mi_pool_controller_init mi_start_session poll"
[ -n "$copy" ] || exit 0

cp "$archive" "$copy"
ar d "$copy" comm.o worker.o
objcopy \
	--redefine-sym mi_rd_cmd=libmilter_read \
	--redefine-sym mi_wr_cmd=libmilter_write \
	--redefine-sym mi_start_session=libmilter_start \
	--redefine-sym mi_pool_controller_init=libmilter_pool \
	--redefine-sym poll=libmilter_poll \
	--redefine-sym accept=libmilter_accept \
	--redefine-sym close=libmilter_close \
	--redefine-sym syslog=libmilter_syslog \
	--redefine-sym __syslog_chk=libmilter_syslog_chk \
	"$copy"
