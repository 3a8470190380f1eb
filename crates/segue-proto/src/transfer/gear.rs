//! The numbers by which content is cut, one for each value of a byte.

/// Entry i: the first 8 bytes, big-endian, of H("segue/1 gear", i), i as one byte. A table, as 256 hashes for every file
/// would cost more than to cut it.
#[rustfmt::skip]
pub(super) const GEAR: [u64; 256] = [
    0x6ad3_fd6b_4958_a9be, 0x31b4_8fc3_97f3_33b0, 0x7b4c_b71e_84c9_a58a, 0x8e69_e200_db62_79d5,
    0xa28c_2426_e34a_fc84, 0x7d61_cab9_4efb_d969, 0xe624_5c54_a13a_b4a7, 0x537c_28ee_1d55_4e4c,
    0x9489_9617_6575_a728, 0x2c5c_42f7_2af4_2744, 0xb53f_1ad4_07c8_2995, 0xd113_fb65_a8d5_8d0e,
    0xb42f_eb32_2433_1d28, 0x330a_9fd5_f32c_68ab, 0x1937_203f_b907_9bea, 0x60f1_dae9_52a8_8b30,
    0x6e7a_f5a5_a00e_5720, 0x0289_d566_0c57_49b7, 0xc2a8_1be8_662f_6fb1, 0xfc3e_9d37_f1e1_0e55,
    0xdac2_7cb3_2a28_e58f, 0x452d_01dc_e5bd_a429, 0x1641_f6cc_685f_924e, 0x56fc_9dab_1142_c06b,
    0xe1b7_87c3_8165_befd, 0xe37e_5e35_7209_5f81, 0x17ea_08bb_615b_7e9e, 0x58c7_0d3c_796b_1c13,
    0xf6e9_59ab_3395_5172, 0x0081_b6b8_add4_ac34, 0x8e28_58d5_ee29_f30a, 0x5483_06e5_2a00_5f46,
    0xb843_b807_2288_91e0, 0xccc7_bcdb_2a2f_2efa, 0xd187_0e6f_9242_127d, 0xb78c_b87f_d54d_dcc9,
    0x4613_73b4_d9ea_dc92, 0xa60a_06f5_102e_7f94, 0x8f80_15d8_bd84_d20e, 0xe085_e971_301c_b3a8,
    0xeaf6_bee5_0273_7c5d, 0xaaaa_89e6_7875_0a96, 0xe0eb_a28d_25cb_035a, 0xfb16_a2a5_9700_8422,
    0x3d02_2ec2_4db6_c698, 0xd74b_0665_7004_a311, 0x4a9e_a8a7_c385_c9a9, 0x714b_a184_a3d1_f26f,
    0x0d35_8c13_8910_a2dd, 0x4c27_5c17_8d4d_add6, 0xe078_64af_a9f2_8606, 0x77e9_75d6_fc53_ed89,
    0xf944_bc63_9bc3_80c4, 0xc188_5bbb_11da_5f5d, 0x5930_6461_b789_f5de, 0x95d1_68dd_232c_801b,
    0x6229_7391_39d4_49eb, 0x5d03_427b_d79f_434f, 0x5a4b_d581_0962_4712, 0x2bc7_833f_19b2_aadb,
    0x3807_4e0f_572b_4924, 0xbb83_02b3_5d79_8a79, 0x8914_b5a8_e9d5_09fb, 0x5673_aa4d_8ca7_16c9,
    0x7dd0_72f2_3475_4a18, 0xe50f_8c1b_b0f9_9345, 0x8490_96ec_1d77_12af, 0xfdd8_2e8c_af9c_837a,
    0x4b99_54bd_e20f_fd4d, 0x9d72_05fb_510f_458b, 0x84a0_0652_763c_f45f, 0xbcf3_3579_0868_a485,
    0x6331_4d12_1d35_b73f, 0x5c91_6915_14b4_2560, 0xe2e9_fa4e_abdc_9722, 0x5acf_baed_ba5b_0f8d,
    0xd594_4d70_91bb_c274, 0xab6f_feee_3b41_9381, 0x8028_78c5_d08e_5c77, 0xf089_7738_72d1_5591,
    0x2fdc_6ca9_16a4_1ff6, 0x49b6_eafd_b643_eba3, 0xaa37_78c3_2a92_8e30, 0x34dc_8763_ddb0_4894,
    0x3eb4_86e4_2283_1640, 0xe722_4d57_352e_e41b, 0xc1fc_93fc_1554_68c4, 0x4c3f_5def_5245_a028,
    0x4a37_afe7_fb78_9a39, 0x2531_94ff_9313_349e, 0x84d0_c2f0_8d94_ae22, 0xb153_8a83_1e28_51ea,
    0x9c6a_ab28_3515_3ea8, 0x59b9_b755_5ff0_46a1, 0x823a_9278_307d_6a68, 0x2f12_e74e_3195_4d5d,
    0xabce_ccbe_cba4_5e85, 0x8987_24b1_5920_6f3b, 0x7127_3679_6f53_e645, 0x0f1d_1c7a_b2d1_dc2c,
    0xce78_6fd5_0f52_8c02, 0x6881_4243_6bd7_8142, 0xace0_0d4d_6988_b84c, 0x58ae_155a_67f9_466a,
    0xe88b_b1c0_b62b_d10a, 0xa2de_b800_b5cb_d6aa, 0x3f27_bf66_ba73_65cf, 0x0801_d13b_f599_e071,
    0xb62e_f723_8fe3_e574, 0x58ea_9a8c_6ff6_c6f7, 0xa9be_b2ff_d690_0840, 0x91ef_3477_335f_5d23,
    0x9857_e060_2fc7_285b, 0x31fb_9894_5a8a_8716, 0xc680_83bb_696f_1ed6, 0x6a8b_6ea4_f7b4_f424,
    0x4a09_6399_1ba2_0f88, 0x59dd_6e85_edb2_d326, 0x26d9_cca5_0848_83ec, 0xae7d_57eb_b745_ac71,
    0x32c8_226b_b44e_a2bd, 0x72ec_3d72_b869_3e8b, 0x1eae_2e6a_653e_dc63, 0x66bc_0a58_6795_8435,
    0x8c74_7bf9_2967_00d4, 0x34db_1216_cc48_3858, 0xdd4c_853e_0de3_b843, 0xf1f3_3b50_cebe_db93,
    0xb826_8b58_f4b9_5062, 0x221d_3e82_be09_3460, 0x8829_32bf_bf11_cb0a, 0xa4b8_d504_839e_4512,
    0xe2ef_89a8_08de_d636, 0x5b7e_df68_46d1_00b9, 0x73be_7c11_bffa_71fd, 0x9931_c5cc_14f0_7ab5,
    0x0687_89ed_375f_87e7, 0x920b_18ab_fcc5_c786, 0x9cc8_93ee_b215_6343, 0xd086_d364_9fc1_aa75,
    0x764f_a447_68ec_c516, 0xd839_eb94_eb61_fbc6, 0x33a5_fd2f_793c_cf19, 0x4ea4_d941_1e4d_f18c,
    0xfda1_a880_c291_518a, 0xfd71_6a81_8e53_d248, 0x0a02_08b3_d818_bbf6, 0x8ddc_dc25_9d6e_fd20,
    0x09c9_1820_0237_7d1d, 0xb572_2e70_729c_0514, 0x7972_5301_233a_5d5f, 0x9c82_c59d_aa7d_eda3,
    0x1c66_ee54_43dc_3abf, 0x5f66_c51e_a212_e69d, 0xf2f9_a6f8_1c51_244f, 0xbae6_3ae8_68e1_4444,
    0x928c_64c5_73a1_2c63, 0x00b5_9b35_fe8b_08a7, 0xfde7_3f8d_b956_d6c0, 0x1380_62af_01ed_e4b1,
    0xea75_4beb_53cf_5dbb, 0x4288_5115_6ecf_5b53, 0x56ca_d70d_da3b_8933, 0x768c_2131_0d03_ee58,
    0x1eac_4c63_3a9e_910b, 0x1969_72c5_99f7_0179, 0xf44b_c346_a25a_2e44, 0x4340_654b_4a8c_7ff8,
    0x1be3_4681_0770_58a2, 0x884b_c2ca_3fa9_a70f, 0x12db_6b3c_5b4f_8097, 0x4476_49e1_9f05_2270,
    0x5c1e_90fb_2acf_0d0c, 0x63fe_a206_59c8_baa6, 0x8f57_df1d_a0e4_d95d, 0x2d34_7e19_6001_85a9,
    0x1b7b_305e_fe88_898d, 0xa107_dce1_a8c9_88c1, 0xf4d5_0384_7630_118b, 0x2eda_761f_20c9_13b0,
    0xaaa9_9747_d69c_cfb8, 0x9d9d_ae3a_d7ca_42c6, 0x3149_ecdf_f5fa_6372, 0xd2fa_10de_d983_b912,
    0x32a6_e285_e486_324a, 0x61e9_2c85_a9dd_223d, 0x2803_dbe8_ff2c_6edc, 0xb7ce_5682_10f9_c9b4,
    0x6038_a6ba_7f76_8082, 0xe714_6346_dde6_42a8, 0x7f84_cbdd_6caf_8cec, 0xba41_23df_9af4_6c1f,
    0x55da_be62_36a3_bdb1, 0x730f_a423_5488_c819, 0x44a5_77c5_377c_5281, 0x859d_bbf7_daec_601e,
    0xe035_e432_c22b_25a2, 0x557a_fc24_68cd_8206, 0x7b8a_1425_9cbd_095d, 0x2cf9_5b2e_d4c2_e300,
    0x111a_2618_f8be_f00f, 0x44f4_7220_f7de_a278, 0x728c_9b1c_6e6f_6fef, 0xf4e1_1a15_dc97_f917,
    0x82db_3862_864c_1077, 0xb793_9bec_4611_f86a, 0x6084_85e8_825b_4d86, 0x4a2f_09eb_9137_5e1f,
    0xab34_2fb7_d046_7a30, 0x3702_c1c6_662a_2037, 0xcc7c_3f38_8283_739f, 0xec34_eaac_849a_8af9,
    0x5cdc_009e_5f93_dbfe, 0xefa5_092f_f709_843b, 0xc7e2_25a4_365e_4db4, 0x241f_a1c8_876b_cb1e,
    0x680f_037d_f0c2_a7f9, 0x96ab_997e_39d8_d0ae, 0x29c2_3d8f_3516_93cc, 0xdb37_8487_9c60_6b60,
    0xc0cf_1a61_9f13_7837, 0x5a9c_ae99_7818_ff96, 0xe606_e3d5_582d_1af0, 0xfee8_8671_0f99_b68d,
    0x59a6_37f9_2b53_4acd, 0x7aa5_9b5b_ef78_c756, 0xc2d0_7f4e_0366_060c, 0xb34f_b578_52a7_96a5,
    0x9ecb_ea16_5399_384b, 0x3744_a337_01a5_febf, 0x262c_0f21_2f83_15a7, 0xab35_d89d_ca16_1f08,
    0x4457_52bf_e45e_d9fb, 0x114a_5044_7db6_0f0a, 0xf201_9b61_a8e4_ee86, 0xa55c_f926_fe09_2b27,
    0x219f_607c_f7d8_6b07, 0x82f4_bc95_6683_2854, 0x1a4a_a812_35ea_27f4, 0xd051_36a7_34a5_b252,
    0xf9d3_e5f5_cd7e_5d43, 0xc278_80d0_1e45_9ac6, 0x9707_5f50_2fa2_acd9, 0xa19f_d781_60af_7dc4,
    0x77ba_1413_016e_c1cc, 0x855c_fbce_83fd_64df, 0x68fc_feea_877b_2111, 0xd825_6f61_39e1_df6b,
    0xbfb0_0686_8184_8baf, 0x1ccc_e7de_9c65_3f2f, 0xd1f0_465d_adc1_2830, 0xb487_6ec1_2d47_245b,
    0x6e07_55e7_ce2b_5d76, 0x7913_a305_6dd3_aa63, 0x1d39_8070_720b_bbf5, 0x78fc_0184_3baa_748d,
];

#[cfg(test)]
mod tests {
    use super::GEAR;
    use crate::wire::hash::Hasher;

    #[test]
    fn the_table_is_what_the_spec_says() {
        for (value, gear) in (0..=u8::MAX).zip(GEAR) {
            let hash = Hasher::new("segue/1 gear").bytes(&[value]).finish();
            assert_eq!(hash.as_bytes().first_chunk(), Some(&gear.to_be_bytes()), "{value}");
        }
    }
}
