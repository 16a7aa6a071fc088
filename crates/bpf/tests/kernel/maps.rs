//! Maps: values, lengths, kinds.

use super::*;

#[test]
fn maps_keep_values_and_refuse_wrong_lengths() {
    if !privileged("maps_keep_values_and_refuse_wrong_lengths") {
        return;
    }
    let hash = map(MapKind::Hash, 3, 2);
    let (key, mut value) = (7_u32.to_ne_bytes(), [0; 3]);
    assert!(!hash.lookup(&key, &mut value).unwrap());
    hash.update(&key, &[1, 2, 3]).unwrap();
    assert!(hash.lookup(&key, &mut value).unwrap());
    assert_eq!(value, [1, 2, 3]);
    assert!(hash.delete(&key).unwrap());
    assert!(!hash.delete(&key).unwrap());

    let error = hash.lookup(&key[..3], &mut value).unwrap_err();
    assert_eq!(error.to_string(), "look up in map netmem_test: key has 3 bytes, the map's has 4");
    assert!(hash.lookup(&key, &mut [0; 2]).is_err());
    assert!(hash.lookup(&key, &mut [0; 4]).is_err());
    assert!(hash.update(&key, &[0; 8]).is_err());
    assert!(hash.update(&[], &[0; 3]).is_err());
    assert!(hash.delete(&[0; 8]).is_err());
    assert!(hash.sum_u64(0).is_err());

    let info = hash.info().unwrap();
    assert_eq!((info.name.as_str(), info.map_type), ("netmem_test", 1));
    assert_eq!((info.key_bytes, info.value_bytes, info.max_entries), (4, 3, 2));
    assert!(close_on_exec(hash.as_fd()));

    // A per-CPU value of 12 bytes takes 16 for each CPU.
    let per_cpu = map(MapKind::PerCpuHash, 12, 2);
    assert_eq!(per_cpu.transfer_bytes(), 16 * possible_cpus().unwrap().len());
    let values: Vec<u8> = (0..=u8::MAX).cycle().take(per_cpu.transfer_bytes()).collect();
    per_cpu.update(&key, &values).unwrap();
    let mut read = vec![0; values.len()];
    assert!(per_cpu.lookup(&key, &mut read).unwrap());
    for (read, written) in read.chunks(16).zip(values.chunks(16)) {
        assert_eq!(read[..12], written[..12]);
    }
    assert!(per_cpu.lookup(&key, &mut [0; 12]).is_err());
}

#[test]
fn every_kind_of_map_can_be_made() {
    if !privileged("every_kind_of_map_can_be_made") {
        return;
    }
    use MapKind::*;
    for kind in [Hash, Array, PerCpuHash, PerCpuArray, LruHash, DevMap, CpuMap, XskMap, DevMapHash]
    {
        assert_eq!(map(kind, 4, 2).info().unwrap().map_type, kind as u32);
    }
    let spec = MapSpec { kind: LpmTrie, key_bytes: 8, value_bytes: 1, max_entries: 4, name: "" };
    let trie = Map::create(&spec).unwrap();
    assert_eq!(trie.info().unwrap().name, "");
    trie.update(&[8, 0, 0, 0, 10, 0, 0, 0], &[42]).unwrap();
    let mut value = [0];
    assert!(trie.lookup(&[32, 0, 0, 0, 10, 1, 2, 3], &mut value).unwrap());
    assert_eq!(value, [42]);
    let wrong = MapSpec { kind: Array, key_bytes: 8, name: "netmem_wrong", ..spec };
    let error = Map::create(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "create map netmem_wrong: invalid argument (EINVAL)");
    assert!(Map::create(&MapSpec { name: "longer_than_15_bytes", ..spec }).is_err());
}
